# frozen_string_literal: true

module TaskerCore
  module Models
    # The task that the step belongs to.
    class TaskWrapper
      # @return [String, nil]
      attr_reader :task_uuid, :namespace_name, :task_name, :task_version, :correlation_id
      # @return [Types::IndifferentHash] the task's input; empty if it has none
      attr_reader :context

      # @param data [Hash, nil] either flat, or +{ task:, task_name:, task_version:, namespace_name: }+
      def initialize(data)
        outer = Types::IndifferentHash.new(data || {})
        inner = outer['task'].is_a?(Hash) ? outer['task'] : outer
        read = ->(key) { outer[key].nil? ? inner[key] : outer[key] }
        @task_uuid = read.call('task_uuid')
        @namespace_name = read.call('namespace_name')
        @task_name = read.call('task_name')
        @task_version = read.call('task_version')
        @correlation_id = read.call('correlation_id')
        @context = inner['context'].nil? ? Types::IndifferentHash.new : inner['context']
      end
    end

    # The step that is to be executed.
    class WorkflowStepWrapper
      # @return [String, nil]
      attr_reader :workflow_step_uuid, :task_uuid, :named_step_uuid, :name, :template_step_name
      # @return [Boolean, nil] whether failed attempts are tried again; nil counts as true
      attr_reader :retryable
      # @return [Integer, nil] the most attempts there may be
      attr_reader :max_attempts
      # @return [Integer, nil] attempts before this one
      attr_reader :attempts
      # @return [Boolean, nil]
      attr_reader :in_process, :processed
      # @return [String, nil] a time
      attr_reader :processed_at, :last_attempted_at
      # @return [Integer, nil] seconds
      attr_reader :backoff_request_seconds
      # @return [Types::IndifferentHash] what was given to this step alone, as a batch worker's cursor
      attr_reader :inputs
      # @return [Object, nil] the step's own earlier result
      attr_reader :results
      # @return [Types::IndifferentHash, nil] where an earlier run of this step said it could go on
      attr_reader :checkpoint

      # The attributes that are taken over as they are.
      PLAIN = %w[workflow_step_uuid task_uuid named_step_uuid name template_step_name retryable max_attempts attempts
                 in_process processed processed_at last_attempted_at backoff_request_seconds results checkpoint].freeze
      private_constant :PLAIN

      # @param data [Hash, nil]
      def initialize(data)
        given = Types::IndifferentHash.new(data || {})
        PLAIN.each { |key| instance_variable_set(:"@#{key}", given[key]) }
        @inputs = given['inputs'].nil? ? Types::IndifferentHash.new : given['inputs']
      end
    end

    # What the template says about the step's handler.
    class HandlerWrapper
      # @return [String, nil] the handler's name, or the constant path of its class
      attr_reader :callable
      # @return [Types::IndifferentHash] the handler's configuration
      attr_reader :initialization
      # @return [String, nil] the method to call instead of +call+
      attr_reader :handler_method
      # @return [String, nil] the only resolver to ask
      attr_reader :resolver

      # @param data [Hash, nil]
      def initialize(data)
        given = Types::IndifferentHash.new(data || {})
        @callable = given['callable']
        @initialization = given['initialization'].nil? ? Types::IndifferentHash.new : given['initialization']
        @handler_method = given['method'] || given['handler_method']
        @resolver = given['resolver']
      end
    end

    # What the template says about the step.
    class StepDefinitionWrapper
      # @return [String, nil]
      attr_reader :name, :description, :system_dependency, :type
      # @return [HandlerWrapper]
      attr_reader :handler
      # @return [Array<String>] names of the steps that it waits for
      attr_reader :dependencies
      # @return [Types::IndifferentHash] when failed attempts are tried again
      attr_reader :retry
      # @return [Numeric, nil] how long the handler may run
      attr_reader :timeout_seconds
      # @return [Array<Types::IndifferentHash>] events that follow from the step's outcome
      attr_reader :publishes_events
      # @return [Types::IndifferentHash, nil]
      attr_reader :batch_config

      # @param data [Hash, nil]
      def initialize(data)
        given = Types::IndifferentHash.new(data || {})
        %w[name description system_dependency timeout_seconds batch_config].each do |key|
          instance_variable_set(:"@#{key}", given[key])
        end
        @type = given['type'] || 'standard'
        @handler = HandlerWrapper.new(given['handler'])
        @dependencies = given['dependencies'] || []
        @retry = given['retry'] || Types::IndifferentHash.new
        @publishes_events = given['publishes_events'] || []
      end
    end
  end
end
