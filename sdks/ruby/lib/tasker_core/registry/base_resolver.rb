# frozen_string_literal: true

module TaskerCore
  module Registry
    # Finds handlers by one rule; a {ResolverChain} asks several, lowest +priority+ first.
    class BaseResolver
      # @return [String] what a template's +handler.resolver+ calls it
      def name
        raise NotImplementedError, "#{self.class} must define name"
      end

      # @return [Integer] its place in the chain: lower is asked earlier
      def priority
        raise NotImplementedError, "#{self.class} must define priority"
      end

      # @param definition [Types::HandlerDefinition]
      # @param config [Hash] what the chain was given
      # @return [Boolean] whether to ask it at all
      def can_resolve?(_definition, _config = {})
        raise NotImplementedError, "#{self.class} must define can_resolve?(definition, config)"
      end

      # @param definition [Types::HandlerDefinition]
      # @param config [Hash] what the chain was given
      # @return [Object, nil] a handler that is ready to be called
      def resolve(_definition, _config = {})
        raise NotImplementedError, "#{self.class} must define resolve(definition, config)"
      end

      # @return [Array<String>] the callables that are known in advance
      def registered_callables
        []
      end

      private

      # A handler that cannot be made is as good as missing.
      def instantiate(handler_class, definition)
        takes_config?(handler_class) ? handler_class.new(config: definition.initialization) : handler_class.new
      rescue StandardError => e
        Logger.instance.warn('handler_not_made', logger: 'tasker.registry', callable: definition.callable,
                                                 reason: "#{e.class}: #{e.message}")
        nil
      end

      def takes_config?(handler_class)
        parameters = handler_class.instance_method(:initialize).parameters
        parameters.any? do |kind, name|
          %i[keyrest req].include?(kind) || (%i[key keyreq].include?(kind) && name == :config)
        end
      end
    end
  end
end
