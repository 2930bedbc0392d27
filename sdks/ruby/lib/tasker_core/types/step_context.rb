# frozen_string_literal: true

module TaskerCore
  module Types
    # What a handler is called with: the task's input, earlier steps' results, the handler's configuration, and how
    # often the step was tried.
    #
    # Hashes can be read with Strings and Symbols alike, at every depth. What is missing is nil.
    class StepContext
      # Attempts that there may be where the template says nothing.
      DEFAULT_MAX_RETRIES = 3

      # @return [Models::TaskWrapper]
      attr_reader :task
      # @return [Models::WorkflowStepWrapper]
      attr_reader :workflow_step
      # @return [Models::DependencyResultsWrapper]
      attr_reader :dependency_results
      # @return [Models::StepDefinitionWrapper]
      attr_reader :step_definition
      # @return [String, nil] the handler's name; what the template calls it by default
      attr_reader :handler_name

      # @param step_data [Models::TaskSequenceStepWrapper, Hash] with +:task+, +:workflow_step+,
      #   +:dependency_results+ and +:step_definition+
      # @param handler_name [String, nil] the template's callable by default
      # @param cancelled [Proc] says whether the attempt is to stop
      def initialize(step_data, handler_name: nil, cancelled: -> { false })
        data = step_data.is_a?(Hash) ? Models::TaskSequenceStepWrapper.new(step_data) : step_data
        @task = data.task
        @workflow_step = data.workflow_step
        @dependency_results = data.dependency_results
        @step_definition = data.step_definition
        @handler_name = handler_name || step_definition.handler.callable
        @cancelled = cancelled
      end

      # @return [String, nil]
      def task_uuid
        task.task_uuid
      end

      # The same over all attempts, so it serves as the idempotency key of calls to others.
      #
      # @return [String, nil]
      def step_uuid
        workflow_step.workflow_step_uuid
      end

      # @return [String, nil]
      def step_name
        workflow_step.name
      end

      # @return [String, nil]
      def namespace_name
        task.namespace_name
      end

      # @return [String, nil] the id that ties together what belongs to one request
      def correlation_id
        task.correlation_id
      end

      # @return [Boolean] whether failed attempts are tried again
      def retryable?
        workflow_step.retryable != false
      end

      # True once the lease is lost, the step is cancelled, its time is up or the worker stops: whatever the handler
      # returns then is dropped. Handlers that run long look here now and then.
      #
      # @return [Boolean]
      def cancelled?
        @cancelled.call ? true : false
      end

      # @return [IndifferentHash] the task's context, which is its input
      def input_data
        task.context
      end
      alias context input_data

      # @return [IndifferentHash] what was given to this step alone, as a batch worker's cursor
      def step_inputs
        workflow_step.inputs
      end

      # @return [IndifferentHash] the handler's configuration: +handler.initialization+ of the template
      def step_config
        step_definition.handler.initialization
      end

      # @param key [String, Symbol]
      # @return [Object, nil] a value of the task's context
      def get_input(key)
        read(input_data, key)
      end
      alias get_task_field get_input

      # @param key [String, Symbol]
      # @param default [Object] returned if the value is absent or nil
      # @return [Object]
      def get_input_or(key, default = nil)
        value = get_input(key)
        value.nil? ? default : value
      end

      # @param key [String, Symbol]
      # @return [Object, nil] a value of the handler's configuration
      def get_config(key)
        read(step_config, key)
      end

      # @param step_name [String, Symbol] any step before this one
      # @return [Object, nil] what its handler returned
      def get_dependency_result(step_name)
        dependency_results.get_results(step_name)
      end

      # @param step_name [String, Symbol] any step before this one
      # @param path [Array<String, Symbol, Integer>] keys to follow into its result
      # @return [Object, nil] nil as soon as the path leads nowhere
      def get_dependency_field(step_name, *path)
        path.reduce(get_dependency_result(step_name)) { |value, key| read(value, key) }
      end

      # @return [Array<String>] names of the steps whose results are there
      def get_dependency_result_keys
        dependency_results.keys
      end

      # @param prefix [String] as of a batch's workers
      # @return [Array<Object>] the results of all steps whose name starts with it, leaving out nil
      def get_all_dependency_results(prefix)
        names = dependency_results.keys.select { |name| name.start_with?(prefix.to_s) }
        names.map { |name| get_dependency_result(name) }.compact
      end

      # @return [Integer] attempts before this one
      def retry_count
        workflow_step.attempts || 0
      end

      # @return [Integer] the most attempts there may be
      def max_retries
        workflow_step.max_attempts || DEFAULT_MAX_RETRIES
      end

      # @return [Boolean] whether there were attempts before this one
      def is_retry?
        retry_count.positive?
      end

      # @return [Boolean] whether there will be no attempt after this one
      def is_last_retry?
        retry_count >= max_retries - 1
      end

      # @return [IndifferentHash, nil] where an earlier run of this step said it could go on
      def checkpoint
        workflow_step.checkpoint
      end

      # @return [Object, nil]
      def checkpoint_cursor
        read(checkpoint, 'cursor')
      end

      # @return [Integer] items done before the checkpoint
      def checkpoint_items_processed
        read(checkpoint, 'items_processed') || 0
      end

      # @return [Object, nil] sums up to the checkpoint
      def accumulated_results
        read(checkpoint, 'accumulated_results')
      end

      # @return [Boolean] whether there is a cursor to go on from; 0 is one
      def has_checkpoint?
        !checkpoint_cursor.nil?
      end

      private

      def read(container, key)
        case container
        when Hash then container[key]
        when Array then container[key] if key.is_a?(Integer)
        end
      end
    end
  end
end
