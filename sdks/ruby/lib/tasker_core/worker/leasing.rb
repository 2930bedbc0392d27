# frozen_string_literal: true

module TaskerCore
  module Worker
    # The part of {StepWorker} that leases steps, on a thread of its own.
    module Leasing
      private

      def prepare_leasing
        # Whether a lease may bring steps; whether one is due.
        @may_be_ready = true
        @lease_due = ConditionVariable.new
        # After an outage, leases may be ours that we never heard of.
        @lost_contact = false
        # A lease call was cut short while the server may have been granting it.
        @cut_short = false
        @backoffs = Hash.new { |all, what| all[what] = Backoff.new }
      end

      def lease_steps
        until @stopping
          act, free = @lock.synchronize { next_act }
          case act
          when :recover then recover
          when :lease then lease(free)
          end
        end
        give_back_unknown if @cut_short && !@failure
      end

      # Under lock. Promises the slots that it returns.
      def next_act
        until @stopping
          return :recover if @lost_contact

          free = @attempts.free
          if free.positive? && @may_be_ready
            @may_be_ready = false
            @attempts.promise(free)
            @session.arm_lease
            return [:lease, free]
          end
          wait_for_lease(StepWorker::IDLE_SECONDS)
        end
      end

      # Under lock.
      def wait_for_lease(seconds)
        deadline = monotonic + seconds
        @lease_due.wait(@lock, seconds)
        @may_be_ready = true if monotonic >= deadline
      end

      # Under lock.
      def slot_freed
        @lease_due.signal if @may_be_ready
      end

      def lease(free)
        started = monotonic
        leases = @session.lease(free)
        reset_backoff(:lease)
        accept(leases, free, patient: monotonic - started > StepWorker::IDLE_SECONDS)
      rescue Client::Connection::InterruptedError
        @cut_short = true
        redeem(free)
      rescue RegisteredAgain
        redeem(free)
      rescue ServerUnavailable => e
        redeem(free)
        server_unavailable(:lease, e)
      end

      def redeem(slots)
        @lock.synchronize do
          @attempts.redeem(slots)
          @may_be_ready = true
        end
      end

      def accept(leases, free, patient:)
        started = @lock.synchronize do
          @attempts.redeem(free)
          # A server that answers at once with nothing, such as one that is about to stop, is left alone a while.
          @may_be_ready = !leases.empty? || patient
          start(leases) unless @stopping
          !@stopping
        end
        give_back(leases) unless started
      end

      # Adopts leases whose grant was lost with the connection. Nothing is leased until this is done: the lost grants
      # take up the slots that they were promised.
      def recover
        @lock.synchronize do
          @lost_contact = @cut_short = false
          @attempts.watch_forgotten
        end
        leases = @session.recover
        reset_backoff(:recover)
        @lock.synchronize { start(@attempts.unknown(leases)) }
      rescue RegisteredAgain
        nil
      rescue ServerUnavailable => e
        server_unavailable(:recover, e)
      end

      # Gives back what a lease call that was cut short may have been granted.
      def give_back_unknown
        # What reports under way bring is known once their answers are here.
        @lock.synchronize do
          @no_answer_due.wait(@lock, 1.0) while @answers_due.positive?
          @attempts.watch_forgotten
        end
        leases = @session.recover
        give_back(@lock.synchronize { @attempts.unknown(leases) })
      rescue RegisteredAgain
        nil
      rescue ServerUnavailable => e
        log_unavailable(:recover, e)
      end

      # Gives steps back that were not started, so that another worker starts them at once.
      def give_back(leases)
        @session.release(leases.map { |lease| Session.key_of(lease) })
      rescue RegisteredAgain
        nil
      rescue ServerUnavailable => e
        log_unavailable(:release, e) # then their leases run out
      end

      def server_unavailable(what, error)
        log_unavailable(what, error)
        pause = @lock.synchronize do
          @lost_contact = @may_be_ready = true
          @backoffs[what].next(error.retry_after)
        end
        @session.interrupt_lease if what == :report
        # A worker that stops reports what it has all the same.
        what == :report ? sleep(pause) : wait_unless_stopping(pause)
      end

      def wait_unless_stopping(seconds)
        deadline = monotonic + seconds
        @lock.synchronize do
          @lease_due.wait(@lock, deadline - monotonic) until @stopping || monotonic >= deadline
        end
      end

      def reset_backoff(what)
        @lock.synchronize { @backoffs[what].reset }
      end

      def log_unavailable(what, error)
        Logger.instance.warn('server_unavailable', logger: StepWorker::LOGGER, duty: what, reason: error.message)
      end
    end
  end
end
