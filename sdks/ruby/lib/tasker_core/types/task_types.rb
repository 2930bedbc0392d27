# frozen_string_literal: true

module TaskerCore
  module Types
    # What is asked of Tasker: a task of a template, with its input.
    class TaskRequest < Record
      # @!attribute [r] context
      #   @return [Hash] the task's input
      # @!attribute [r] priority
      #   @return [Integer] higher goes first; 0 by default
      # @!attribute [r] idempotency_key
      #   @return [String, nil] two requests with the same one make one task
      attributes :namespace, :name, version: '1.0.0', status: 'pending', initiator: 'tasker-core-ruby',
                                    source_system: 'tasker-core', reason: 'Task requested', context: -> { {} },
                                    tags: -> { [] }, priority: 0, requested_at: nil, options: -> { {} },
                                    correlation_id: nil, parent_correlation_id: nil, idempotency_key: nil

      # @return [TaskRequest] one for tests
      def self.build_test(namespace:, name:, context:, **options)
        new(namespace: namespace, name: name, context: context, initiator: 'test', source_system: 'test',
            reason: 'Test', **options)
      end

      # @return [Boolean] whether it says enough to make a task
      def valid_for_creation?
        [namespace, name, version].none? { |text| text.to_s.empty? } && context.is_a?(Hash)
      end
    end

    # The first answer to a {TaskRequest}.
    class TaskResponse < Record
      attributes :task_uuid, :name, :namespace, :version, :status, :created_at, :updated_at, :correlation_id,
                 step_count: 0, step_mapping: -> { {} }
    end

    # How one attempt of a step ended.
    class StepCompletion < Record
      attributes :task_uuid, :step_uuid, :step_name, :status, :results, :duration_ms, :completed_at, :error_message

      # @return [Boolean]
      def completed?
        %w[complete completed].include?(status)
      end

      # @return [Boolean]
      def failed?
        %w[failed error].include?(status)
      end
    end
  end
end
