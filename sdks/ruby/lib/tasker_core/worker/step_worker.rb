# frozen_string_literal: true

require 'tasker_core/client/connection'
require 'tasker_core/execution'
require 'tasker_core/logger'
require 'tasker_core/worker/attempts'
require 'tasker_core/worker/backoff'
require 'tasker_core/worker/drain'
require 'tasker_core/worker/errors'
require 'tasker_core/worker/event_bridge'
require 'tasker_core/worker/handler_threads'
require 'tasker_core/worker/heartbeats'
require 'tasker_core/worker/leasing'
require 'tasker_core/worker/outcome'
require 'tasker_core/worker/reporting'

module TaskerCore
  module Worker
    # Leases steps, runs their handlers and reports the results: keeps as many handlers running as it may, and loses
    # nothing on the way.
    #
    # One thread leases, two report, one sends heartbeats; handlers run on up to +concurrency+ others. The thread that
    # calls {#run} watches over time limits.
    class StepWorker
      include Leasing
      include Reporting

      # Seconds that a handler may run if its step has no +timeout_seconds+.
      DEFAULT_TIMEOUT_SECONDS = 300.0

      # Seconds between leases while nothing seems to be ready.
      IDLE_SECONDS = 1.0

      # What has been done. A step counts when its end is recorded; a checkpoint is no end.
      Counts = Struct.new(:succeeded, :failed) do
        # @return [Integer] all attempts whose end was recorded
        def processed = succeeded + failed
      end

      # @return [Counts] what has been done
      attr_reader :counts

      # @param session [Session] the worker's registration
      # @param registry [#resolve_handler] finds handlers
      # @param concurrency [Integer] handlers that run at once
      # @param shutdown_timeout [Numeric] seconds that running handlers have after {#stop}
      # @param default_timeout [Numeric] seconds that a handler may run if its step does not say so
      # @param bridge [EventBridge] is told what happens
      def initialize(session, registry, concurrency:, shutdown_timeout: 30.0,
                     default_timeout: DEFAULT_TIMEOUT_SECONDS, bridge: EventBridge.instance)
        @session = session
        @registry = registry
        @batch_limit = (concurrency / REPORTERS.to_f).ceil
        @shutdown_timeout = shutdown_timeout
        @default_timeout = default_timeout
        @bridge = bridge
        @counts = Counts.new(0, 0)
        @lock = Mutex.new
        @attempts = Attempts.new(concurrency)
        @threads = HandlerThreads.new(concurrency)
        @heartbeats = Heartbeats.new(session, lost: method(:leases_lost))
        @stopping = false
        @failure = nil
        # Set when time limits, the drain or a failure are to be looked at.
        @tick = ConditionVariable.new
        prepare_leasing
        prepare_reporting
        session.on_forgotten = method(:forgotten_by_server)
      end

      # @return [Integer] how many steps it holds
      def running = @lock.synchronize { @attempts.size }

      # @return [Boolean] whether the server answered the last time that it was asked
      def in_contact? = !@lost_contact

      # @return [Boolean] whether it leases no more
      def stopping? = @stopping

      # Leases no more; {#run} returns when the running handlers are done and reported. Not to be called in a trap.
      def stop
        @lock.synchronize do
          @stopping = true
          @lease_due.broadcast
          @tick.signal
        end
        @session.interrupt_lease
      end

      # Works until {#stop}.
      # @raise [AccessRefused] the credentials are refused
      def run
        @heartbeats.start
        duties = [duty('tasker-lease') { lease_steps }]
        duties += Array.new(REPORTERS) { |index| duty("tasker-report-#{index + 1}") { report_attempts } }
        supervise(duties.first)
        raise @failure if @failure
      ensure
        end_reporting
        @heartbeats.stop
        @threads.stop
      end

      private

      def duty(name)
        thread = Thread.new do
          yield
        rescue StandardError => e
          fail_with(e)
        end
        thread.name = name
        thread
      end

      # A duty that ends by itself is a defect, or the server lets the worker in no more.
      def fail_with(error)
        @lock.synchronize do
          @failure ||= error
          @stopping = true
          @lease_due.broadcast
          @tick.signal
        end
        @session.interrupt_lease
      end

      # Watches over time limits until everything is over.
      def supervise(leasing)
        drain = Drain.new(@shutdown_timeout, @session.lease_seconds)
        until @failure
          now = monotonic
          over = @lock.synchronize do
            end_overdue(now)
            drain.step(now, @attempts, stopping: @stopping) { |attempt| cut_short(attempt) }
          end
          return if over && !leasing.alive?

          # The lease call may have begun after it was to be interrupted.
          @session.interrupt_lease if @stopping
          look(now)
          @lock.synchronize { @tick.wait(@lock, pause(monotonic, drain)) unless @failure }
        end
      end

      def look(now)
        return if @next_look && now < @next_look

        @next_look = now + @heartbeats.look_seconds
        @heartbeats.look(@lock.synchronize { @attempts.keys })
      end

      # Under lock.
      def pause(now, drain)
        times = [@next_look, @attempts.next_deadline, drain.deadline].compact
        pause = times.min - now
        pause = [pause, 0.05].min if @stopping
        pause.clamp(0.001, 0.5)
      end

      # Under lock.
      def end_overdue(now)
        @attempts.overdue(now).each do |attempt|
          attempt.cancelled = true
          finish(attempt, outcome_of(attempt, Execution.timed_out(attempt.lease, attempt.limit, worker_id: name)))
        end
      end

      # Under lock.
      def cut_short(attempt)
        attempt.cancelled = true
        finish(attempt, outcome_of(attempt, Execution.cut_short(attempt.lease, worker_id: name)))
      end

      # -- running

      # Under lock.
      def start(leases)
        leases.each do |lease|
          attempt = @attempts.add(lease, limit: limit_of(lease), now: monotonic)
          next if attempt.nil?

          log_step('step_started', attempt)
          @threads.submit { execute(attempt) }
        end
      end

      def limit_of(lease)
        (lease.dig('task_sequence_step', 'step_definition', 'timeout_seconds') || @default_timeout).to_f
      end

      # On a handler's thread.
      def execute(attempt)
        outcome = nil
        @bridge.publish(EventBridge::STEP_RECEIVED, attempt.lease)
        result = Execution.run(attempt.lease, registry: @registry, worker_id: name,
                                              cancelled: -> { attempt.cancelled? },
                                              fetch_result: ->(step_name) { fetch_result(attempt, step_name) })
        outcome = outcome_of(attempt, result)
      ensure
        # A handler that ends its thread must not keep the slot.
        returned(attempt, outcome || Outcome.refused(attempt.lease, 'the handler ended its thread'))
      end

      def outcome_of(attempt, result)
        Outcome.of(attempt.lease, result)
      end

      def returned(attempt, outcome)
        in_time = @lock.synchronize do
          @attempts.returned(attempt, outcome).tap { |counts| counts ? ended(attempt) : slot_freed }
        end
        Logger.instance.warn('late_result_dropped', logger: LOGGER, **attempt.described) unless in_time
      end

      # Under lock.
      def finish(attempt, outcome)
        ended(attempt) if @attempts.finish(attempt, outcome)
      end

      # Under lock.
      def ended(attempt)
        outcome = attempt.outcome
        log_step('step_ended', attempt, success: outcome.kind != :failed, error_type: outcome.error_type,
                                        milliseconds: ((monotonic - attempt.started) * 1000).round)
        @has_ended.signal
      end

      # @raise [Errors::RetryableError] the server cannot give it just now
      def fetch_result(attempt, step_name)
        found = @session.result(attempt.key, step_name)
        found || raise(Errors::RetryableError, "the result of step #{step_name} is not there any more")
      rescue ServerUnavailable, AccessRefused, RequestRefused, RegisteredAgain => e
        raise Errors::RetryableError, "the result of step #{step_name} cannot be fetched: #{e.message}"
      end

      # -- losing

      def leases_lost(keys, reason)
        lost = @lock.synchronize do
          found = @attempts.lose(keys)
          slot_freed
          @tick.signal
          found
        end
        lost.each { |attempt| Logger.instance.warn('lease_lost', logger: LOGGER, reason: reason, **attempt.described) }
      end

      def forgotten_by_server
        lost = @lock.synchronize { @attempts.lose_all }
        reason = 'the server forgot the worker'
        lost.each { |attempt| Logger.instance.warn('lease_lost', logger: LOGGER, reason: reason, **attempt.described) }
        @lock.synchronize { slot_freed }
      end

      def log_step(event, attempt, **fields)
        logger = Logger.instance
        logger.debug(event, logger: LOGGER, **attempt.described, **fields.compact) if logger.debug?
      end

      def name = @session.name

      def monotonic
        Process.clock_gettime(Process::CLOCK_MONOTONIC)
      end

      # Who says what the worker logs.
      LOGGER = 'tasker.worker'
    end
  end
end
