# frozen_string_literal: true

module TaskerCore
  module Registry
    # A handler whose +call+ is another method of the handler that it wraps. Everything else is that handler's.
    class MethodDispatchWrapper
      # @return [Object] the wrapped handler
      attr_reader :handler
      # @return [Symbol] the method that +call+ is
      attr_reader :target_method

      # @param handler [Object]
      # @param method [String, Symbol]
      # @raise [ArgumentError] if the handler has no such public method
      def initialize(handler, method)
        raise ArgumentError, "#{handler.class} has no public method #{method}" unless handler.respond_to?(method)

        @handler = handler
        @target_method = method.to_sym
      end

      # Executes the step with the target method.
      def call(context)
        handler.public_send(target_method, context)
      end

      # @return [Object] the wrapped handler
      def unwrap
        handler
      end

      # @return [Class] of the wrapped handler
      def handler_class
        handler.class
      end

      # @return [Boolean] whether the wrapped handler is of the class
      def wraps?(handler_class)
        handler.is_a?(handler_class)
      end

      def method_missing(name, *arguments, **keywords, &block)
        handler.respond_to?(name) ? handler.public_send(name, *arguments, **keywords, &block) : super
      end

      def respond_to_missing?(name, include_private = false)
        handler.respond_to?(name, false) || super
      end
    end
  end
end
