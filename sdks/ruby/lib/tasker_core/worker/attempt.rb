# frozen_string_literal: true

module TaskerCore
  module Worker
    # A handler that is running, or whose report is on its way.
    class Attempt
      # @return [Hash] the lease, as the server sent it
      attr_reader :lease

      # @return [Array(String, Integer)] what names the lease
      attr_reader :key

      # @return [Float] seconds that the handler may run
      attr_reader :limit

      # @return [Float] when its time is up, on the monotonic clock
      attr_reader :deadline

      # @return [Float] when it was started, on the monotonic clock
      attr_reader :started

      # @return [Outcome, nil] what is reported of it; from then on, whatever the handler still returns is void
      attr_accessor :outcome

      # Whether the handler was told to stop; whether it does not run, or not any more; whether the worker holds the
      # lease no longer, so that a handler that has not returned still takes up a slot.
      attr_writer :cancelled, :returned, :forgotten

      def initialize(lease, key, limit:, now:)
        @lease = lease
        @key = key
        @limit = limit
        @started = now
        @deadline = now + limit
        @cancelled = @returned = @forgotten = false
        @outcome = nil
      end

      def cancelled? = @cancelled

      def returned? = @returned

      def forgotten? = @forgotten

      def ended? = !@outcome.nil?

      # @return [Hash] what logs say of it
      def described
        task = lease.dig('task_sequence_step', 'task') || {}
        {
          step: lease.dig('task_sequence_step', 'workflow_step', 'name'),
          template: "#{task['namespace_name']}/#{task['task_name']}", task_uuid: lease['task_uuid'],
          step_uuid: key.first, lease_id: key.last, attempt: lease['attempt']
        }
      end
    end
  end
end
