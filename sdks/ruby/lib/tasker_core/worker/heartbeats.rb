# frozen_string_literal: true

require 'set'
require 'tasker_core/client/connection'
require 'tasker_core/logger'
require 'tasker_core/worker/errors'

module TaskerCore
  module Worker
    # Which leases heartbeats are about. Only those that two looks found: most steps end before they need one.
    class Watch
      # @return [Array] leases that the next heartbeat is about
      attr_reader :steady

      def initialize
        @before = Set.new
        @steady = []
        @watched = Set.new
      end

      # @param running [Array] the leases that are held now
      # @return [Boolean] whether the heartbeat that waits does not know some of them
      def look(running)
        @steady = running.select { |key| @before.include?(key) }
        @before = running.to_set
        !@steady.all? { |key| @watched.include?(key) }
      end

      # @return [Array] the leases that the heartbeat is about that begins now
      def begin_heartbeat
        @watched = @steady.to_set
        @steady
      end
    end

    # Renews leases on a thread of its own, and learns of those that are lost: one heartbeat is always waiting.
    class Heartbeats
      # Seconds between looks at what is running.
      LOOK_SECONDS = 0.5

      # Most seconds between a heartbeat that failed and the next.
      RETRY_SECONDS = 1.0

      # @param session [Session] the worker's registration
      # @param lost [#call] called with keys that are lost and why, +:lost+ or +:cancelled+
      def initialize(session, lost:)
        @session = session
        @lost = lost
        @watch = Watch.new
        @lock = Mutex.new
        @stopping = ConditionVariable.new
        @stopped = false
        @thread = nil
      end

      # @return [Float] seconds between calls of {#look}
      def look_seconds
        [LOOK_SECONDS, @session.heartbeat_seconds / 2].min
      end

      # Begins.
      def start
        @thread = Thread.new { beat }
        @thread.name = 'tasker-heartbeats'
      end

      # Looks at what is running; to be called every {#look_seconds}.
      # @param running [Array] what names the leases that are held
      def look(running)
        outdated = @lock.synchronize { @watch.look(running) }
        @session.interrupt_heartbeat if outdated
      end

      # Ends, and waits for the thread.
      def stop
        @lock.synchronize do
          @stopped = true
          @stopping.signal
        end
        return if @thread.nil?

        @session.interrupt_heartbeat until @thread.join(0.1)
      end

      private

      def beat
        until @stopped
          @session.arm_heartbeat
          keys = @lock.synchronize { @watch.begin_heartbeat }
          pause(beat_once(keys)) unless @stopped
        end
      end

      # Returns the seconds to wait before the next.
      def beat_once(keys)
        @session.heartbeat(keys).each { |reason, found| @lost.call(found, reason.to_sym) unless found.empty? }
        # Bounds how often leases are renewed, however soon the answers come.
        look_seconds
      rescue Client::Connection::InterruptedError, RegisteredAgain
        0.0
      rescue StandardError => e
        # Whatever it is, the next heartbeat may do better; refused credentials stop the worker at its next lease.
        Logger.instance.warn('heartbeat_failed', logger: 'tasker.worker', reason: e.message) unless @stopped
        wait = e.is_a?(ServerUnavailable) ? e.retry_after.to_f : 0.0
        [[look_seconds * 2, RETRY_SECONDS].min, wait].max
      end

      def pause(seconds)
        deadline = now + seconds
        @lock.synchronize do
          @stopping.wait(@lock, deadline - now) until @stopped || now >= deadline
        end
      end

      def now
        Process.clock_gettime(Process::CLOCK_MONOTONIC)
      end
    end
  end
end
