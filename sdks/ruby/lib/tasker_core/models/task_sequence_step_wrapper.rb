# frozen_string_literal: true

module TaskerCore
  module Models
    # Everything that one attempt of a step is given.
    class TaskSequenceStepWrapper
      # @return [TaskWrapper]
      attr_reader :task
      # @return [WorkflowStepWrapper]
      attr_reader :workflow_step
      # @return [DependencyResultsWrapper]
      attr_reader :dependency_results
      # @return [StepDefinitionWrapper]
      attr_reader :step_definition

      # @param data [Hash] with the keys +task+, +workflow_step+, +dependency_results+ and +step_definition+, each a
      #   Hash or a wrapper
      def initialize(data)
        given = data.to_h.transform_keys(&:to_sym)
        @task = wrapped(given[:task], TaskWrapper)
        @workflow_step = wrapped(given[:workflow_step], WorkflowStepWrapper)
        @dependency_results = wrapped(given[:dependency_results], DependencyResultsWrapper)
        @step_definition = wrapped(given[:step_definition], StepDefinitionWrapper)
      end

      # @return [Object, nil] a value of the task's context
      def get_task_field(key)
        task.context[key] if task.context.is_a?(Hash)
      end

      # @return [Object, nil] what an earlier step's handler returned
      def get_dependency_result(step_name)
        dependency_results.get_results(step_name)
      end

      # @return [Hash{Symbol => Object}] the four parts
      def to_h
        { task: task, workflow_step: workflow_step, dependency_results: dependency_results,
          step_definition: step_definition }
      end

      private

      def wrapped(value, wrapper)
        value.nil? || value.is_a?(Hash) ? wrapper.new(value) : value
      end
    end
  end
end
