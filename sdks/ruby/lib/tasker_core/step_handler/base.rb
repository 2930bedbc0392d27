# frozen_string_literal: true

module TaskerCore
  module StepHandler
    # Does the work of one kind of step. Subclasses define +call+; a template names them by their constant path:
    #
    #   module Handlers
    #     class ProcessOrder < TaskerCore::StepHandler::Base
    #       def call(_context)
    #         success(result: { processed: context.get_input(:order_id) })
    #       end
    #     end
    #   end
    #
    # An error may leave +call+: see {Errors} for how to say whether it is worth another attempt.
    class Base
      # Answers nil to everything.
      class NullOrchestrationSystem
        def method_missing(_name, *_arguments)
          nil
        end

        def respond_to_missing?(_name, _include_private = false)
          true
        end
      end
      private_constant :NullOrchestrationSystem

      @classes = []
      @lock = Mutex.new

      class << self
        # Remembers every subclass, however deep, so that a worker knows what it can run.
        def inherited(subclass)
          super
          Base.send(:remember, subclass)
        end

        # @return [Array<Class>] loaded handler classes of applications that have a constant and define +call+
        def named_handler_classes
          Base.send(:remembered).select { |handler_class| reachable?(handler_class) }
        end

        private

        def remember(handler_class)
          @lock.synchronize { @classes << handler_class }
        end

        def remembered
          @lock.synchronize { @classes.dup }
        end

        # A class that was reloaded is still remembered, but its constant is another one now.
        def reachable?(handler_class)
          name = handler_class.name
          return false if name.nil? || name.start_with?('TaskerCore::', '#<')

          Object.const_defined?(name) && Object.const_get(name).equal?(handler_class) &&
            handler_class.instance_method(:call).owner != Base
        rescue NameError
          false
        end
      end

      # @return [Hash] the handler's configuration: +handler.initialization+ of the template
      attr_reader :config

      # @param config [Hash] the handler's configuration
      # @param logger [#info, nil] {TaskerCore::Logger} by default
      def initialize(config: {}, logger: nil)
        @config = Types::IndifferentHash.wrap(config || {})
        @logger = logger
      end

      # @return [#info, #warn, #error, #debug]
      def logger
        @logger || Logger.instance
      end

      # @return [Object] answers nil to everything: handlers run outside of the engine
      def orchestration_system
        @orchestration_system ||= NullOrchestrationSystem.new
      end

      # Executes the step. Subclasses define it.
      #
      # @param context [Types::StepContext]
      # @return [Types::StepHandlerCallResult::Success, Types::StepHandlerCallResult::Error,
      #   Types::StepHandlerCallResult::CheckpointYield, Object] any other value is taken as the step's result
      def call(_context)
        raise NotImplementedError, "#{self.class.name || handler_name} must define call(context)"
      end

      # Builds the result of a step that is done.
      #
      # @param result [Object] what later steps see; anything with a JSON form
      # @param result_data [Object] the same under its older name
      # @param metadata [Hash] facts about the attempt, kept with the result
      # @return [Types::StepHandlerCallResult::Success]
      # @raise [ArgumentError] if both +result+ and +result_data+ are nil
      def success(result: nil, result_data: nil, metadata: {})
        value = result.nil? ? result_data : result
        raise ArgumentError, 'success needs result: (or result_data:)' if value.nil?

        Types::StepHandlerCallResult.success(result: value, metadata: metadata)
      end

      # Builds the result of an attempt that failed.
      #
      # @param message [String] for people
      # @param error_type [String] see {Types::ErrorTypes}
      # @param error_code [String, nil] for programs
      # @param retryable [Boolean] whether another attempt makes sense; false by default
      # @param metadata [Hash] facts about the attempt, kept with the failure
      # @return [Types::StepHandlerCallResult::Error]
      # @raise [ArgumentError] if +error_type+ is empty
      def failure(message:, error_type: Types::ErrorTypes::UNEXPECTED_ERROR, error_code: nil, retryable: false,
                  metadata: {})
        Types::StepHandlerCallResult.error(error_type: error_type, message: message, error_code: error_code,
                                           retryable: retryable, metadata: metadata)
      end

      # @return [String] the last part of the class's name in snake_case; the given name of a function's handler
      def handler_name
        Types::Names.snake_case(Types::Names.short(self.class))
      end

      # @return [String] the class's constant +VERSION+, else +1.0.0+
      def version
        own = self.class.ancestors.take_while { |ancestor| ancestor != Base }
        versioned = own.find { |ancestor| ancestor.const_defined?(:VERSION, false) }
        versioned ? versioned::VERSION.to_s : '1.0.0'
      end

      # @return [Hash{Symbol => Object}] who the handler is, for people and tools
      def metadata
        { handler_name: handler_name, handler_class: self.class.name, version: version, capabilities: capabilities,
          config_schema: config_schema, ruby_version: RUBY_VERSION, created_at: Time.now.utc.iso8601 }
      end

      # @return [Array<String>] what the handler can do, for people and tools; the engine does not read it
      def capabilities
        hooks = { process_results: 'process_results', process_async: 'async', process_stream: 'streaming' }
        ['process'] + hooks.filter_map { |hook, capability| capability if respond_to?(hook, true) }
      end

      # @return [Hash] the JSON schema of +handler.initialization+, for people and tools
      def config_schema
        { type: 'object',
          properties: { timeout: { type: 'integer', minimum: 1, default: 300 },
                        retries: { type: 'integer', minimum: 0, default: 3 },
                        log_level: { type: 'string', enum: %w[debug info warn error], default: 'info' } } }
      end

      # @return [Boolean] whether it can be the handler's configuration
      def validate_config(config)
        config.is_a?(Hash)
      end
    end
  end
end
