# frozen_string_literal: true

module TaskerCore
  module Worker
    # The part of {StepWorker} that reports outcomes, on threads of its own.
    module Reporting
      # Reports under way at once. While the server records one batch, the next one fills.
      REPORTERS = 2

      # Bytes that the results of a report take together, unless a single one takes more.
      MOST_BYTES = 8 * 1024 * 1024

      private

      def prepare_reporting
        @has_ended = ConditionVariable.new
        @reporting = true
        # Reports under way that may bring steps.
        @answers_due = 0
        @no_answer_due = ConditionVariable.new
      end

      def end_reporting
        @lock.synchronize do
          @reporting = false
          @has_ended.broadcast
        end
      end

      def report_attempts
        while (batch, want, promised = @lock.synchronize { next_batch })
          report(batch, want, promised)
        end
      end

      # Under lock.
      def next_batch
        @has_ended.wait(@lock) until @attempts.ended? || !@reporting
        return nil unless @reporting

        batch = @attempts.take(@batch_limit, MOST_BYTES)
        [batch, *promise_slots(batch)]
      end

      # Under lock. The batch's own slots are free once it is recorded; the others are promised to this report.
      def promise_slots(batch)
        @answers_due += 1
        return [0, 0] if @stopping || @lost_contact

        promised = @attempts.free
        @attempts.promise(promised)
        [promised + batch.count(&:returned?), promised]
      end

      def report(batch, want, promised)
        answer = @session.report(batch.map { |attempt| attempt.outcome.json }, want)
        reset_backoff(:report)
        take_answer(batch, answer, promised)
      rescue ServerUnavailable => e
        put_back(batch, promised)
        server_unavailable(:report, e)
        @lock.synchronize { @has_ended.signal }
      rescue RegisteredAgain
        # All that was held is lost, and forgotten already.
        put_back([], promised)
      rescue RequestRefused => e
        put_back([], promised)
        report_apart(batch, e)
      rescue StandardError
        put_back(batch, promised)
        raise
      end

      def put_back(batch, promised)
        @lock.synchronize do
          @attempts.put_back(batch)
          answered(promised)
        end
      end

      # Under lock.
      def answered(promised)
        @attempts.redeem(promised)
        @answers_due -= 1
        @no_answer_due.signal if @answers_due.zero?
        slot_freed
      end

      def take_answer(batch, answer, promised)
        leases = answer['leases'] || []
        if @stopping && !leases.empty?
          # Before the batch is forgotten: a worker that holds nothing counts as done.
          give_back(leases)
          leases = []
        end
        verdicts = Verdicts.new(batch, answer['refused'] || [])
        @lock.synchronize do
          @attempts.forget(verdicts.over)
          count(verdicts.accepted)
          verdicts.rejected.each { |attempt, reason| replace(attempt, reason) }
          start(leases)
          @may_be_ready = true if answer['more_ready']
          answered(promised)
          @tick.signal if @stopping
        end
        tell(verdicts)
      end

      # Finds the result that the server cannot take, and fails that step alone.
      def report_apart(batch, error)
        if batch.size == 1
          @lock.synchronize { replace(batch.first, error.message) }
          return tell_rejected(batch.first, error.message)
        end
        batch.each do |attempt|
          want, promised = @lock.synchronize { promise_slots([attempt]) }
          report([attempt], want, promised)
        end
      end

      # Under lock. Reports a failure instead of what the server cannot take.
      def replace(attempt, reason)
        if attempt.outcome.refusal?
          @attempts.forget([attempt]) # not even the failure can be recorded: the lease will expire
        else
          @attempts.replace(attempt, Outcome.refused(attempt.lease, reason))
          @has_ended.signal
        end
      end

      # Under lock.
      def count(accepted)
        accepted.each do |attempt|
          kind = attempt.outcome.kind
          @counts[kind] += 1 unless kind == :checkpoint
        end
      end

      def tell(verdicts)
        verdicts.lost.each do |attempt|
          Logger.instance.warn('report_refused', logger: StepWorker::LOGGER, reason: 'the lease was lost',
                                                 **attempt.described)
        end
        verdicts.rejected.each { |attempt, reason| tell_rejected(attempt, reason) }
        verdicts.accepted.each do |attempt|
          checkpoint = attempt.outcome.kind == :checkpoint
          @bridge.publish(checkpoint ? EventBridge::CHECKPOINT_SENT : EventBridge::COMPLETION_SENT,
                          attempt.outcome.result)
        end
      end

      def tell_rejected(attempt, reason)
        Logger.instance.error('report_failed', logger: StepWorker::LOGGER, reason: reason, **attempt.described)
      end

      # What the server said about each result of a batch.
      class Verdicts
        # Reasons of refusals after which the lease still holds.
        STILL_HELD = %w[malformed not_recordable].freeze

        # @return [Array<Attempt>] those that are recorded, and those whose lease was lost
        attr_reader :accepted, :lost

        # @return [Array<Array(Attempt, String)>] those whose result the server cannot take, and why
        attr_reader :rejected

        def initialize(batch, refused)
          reasons = refused.to_h { |refusal| [Session.key_of(refusal), refusal] }
          @rejected = []
          @lost = []
          @accepted = []
          batch.each { |attempt| judge(attempt, reasons[attempt.key]) }
        end

        # @return [Array<Attempt>] those of which nothing more is to be reported
        def over = accepted + lost

        private

        def judge(attempt, refusal)
          if refusal.nil? then @accepted << attempt
          elsif STILL_HELD.include?(refusal['reason'])
            @rejected << [attempt, refusal['detail'] || refusal['reason']]
          else
            @lost << attempt
          end
        end
      end
      private_constant :Verdicts
    end
  end
end
