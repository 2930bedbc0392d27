# frozen_string_literal: true

require 'tasker_core/logger'

module TaskerCore
  module Worker
    # How a worker that stops waits for what it holds: first for handlers, then for their reports.
    class Drain
      # @return [Float, nil] when the present wait ends
      attr_reader :deadline

      def initialize(handler_seconds, report_seconds)
        @handler_seconds = handler_seconds
        @report_seconds = report_seconds
        @deadline = nil
        @cut = false
      end

      # @yield [attempt] each that is to be cut short
      # @return [Boolean] whether the worker need not wait any more
      def step(now, attempts, stopping:, &block)
        return false unless stopping
        return true if attempts.empty?

        @deadline ||= now + @handler_seconds
        return false if now < @deadline
        return leave(attempts) if @cut

        @cut = true
        @deadline = now + @report_seconds
        Logger.instance.warn('drain_timeout', logger: StepWorker::LOGGER, running: attempts.size,
                                              seconds: @handler_seconds)
        attempts.all.each(&block)
        false
      end

      private

      def leave(attempts)
        Logger.instance.warn('leases_left_behind', logger: StepWorker::LOGGER, count: attempts.size)
        true
      end
    end
  end
end
