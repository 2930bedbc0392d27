# frozen_string_literal: true

module TaskerCore
  # The handler classes under their other names.
  module Handlers
    # See {StepHandler}.
    module Steps
      # See {StepHandler::Base}.
      Base = StepHandler::Base
      # See {StepHandler::Mixins}.
      Mixins = StepHandler::Mixins
      # See {StepHandler::Api}.
      API = StepHandler::Api
      # See {StepHandler::Decision}.
      Decision = StepHandler::Decision
      # See {StepHandler::Batchable}.
      Batchable = StepHandler::Batchable

      module_function

      # @param handler_class [Class]
      # @param config [Hash] the handler's configuration
      # @return [Object] a handler
      def create(handler_class, config: {})
        handler_class.new(config: config)
      end

      # @return [Boolean] whether it is a handler class that can run steps
      def validate(handler_class)
        handler_class.is_a?(Class) && handler_class.ancestors.include?(StepHandler::Base) &&
          handler_class.instance_method(:call).owner != StepHandler::Base
      end
    end
  end
end
