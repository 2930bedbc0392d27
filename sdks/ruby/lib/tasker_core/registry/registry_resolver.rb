# frozen_string_literal: true

module TaskerCore
  module Registry
    # Base of an application's own resolvers. Resolves callables that match a pattern, start with a prefix, or are
    # registered with the class:
    #
    #   class PaymentsResolver < TaskerCore::Registry::RegistryResolver
    #     resolver_name 'payments'
    #     priority_value 20
    #     handles_prefix 'payments.'
    #
    #     def resolve_handler(definition, _config)
    #       Payments.handler_for(definition.callable.delete_prefix('payments.'))
    #     end
    #   end
    class RegistryResolver < BaseResolver
      class << self
        # @param pattern [Regexp] callables that it resolves
        def handles_pattern(pattern)
          @pattern = pattern
        end

        # @param prefix [String] the beginning of the callables that it resolves
        def handles_prefix(prefix)
          @prefix = prefix
        end

        # @param key [String] a callable
        # @param handler [Class] its handler
        def register_handler(key, handler)
          handlers[key.to_s] = handler
        end

        # Sets the place in the chain (default 50), or reads it without an argument.
        def priority_value(value = nil)
          @priority_value = value if value
          @priority_value || inherited_value(:priority_value, 50)
        end

        # Sets the name, or reads it without an argument; by default the class's in snake_case.
        def resolver_name(value = nil)
          @resolver_name = value.to_s if value
          @resolver_name || Types::Names.snake_case(Types::Names.short(self))
        end

        # @return [Regexp, nil]
        def pattern
          @pattern || inherited_value(:pattern, nil)
        end

        # @return [String, nil]
        def prefix
          @prefix || inherited_value(:prefix, nil)
        end

        # @return [Hash{String => Class}]
        def handlers
          @handlers ||= {}
        end

        private

        def inherited_value(name, default)
          superclass.respond_to?(name) ? superclass.public_send(name) : default
        end
      end

      # @return [String]
      def name
        self.class.resolver_name
      end

      # @return [Integer]
      def priority
        self.class.priority_value
      end

      # @return [Boolean] whether the callable is registered, matches the pattern, or starts with the prefix
      def can_resolve?(definition, _config = {})
        callable = definition.callable
        self.class.handlers.key?(callable) || self.class.pattern&.match?(callable) ||
          (self.class.prefix && callable.start_with?(self.class.prefix)) || false
      end

      # @return [Object, nil] an instance of the registered class, else what +resolve_handler+ returns
      def resolve(definition, config = {})
        registered = self.class.handlers[definition.callable]
        registered ? instantiate(registered, definition) : resolve_handler(definition, config)
      end

      # Finds the handler of a callable that is not registered. Subclasses define it.
      #
      # @return [Object, nil]
      def resolve_handler(_definition, _config)
        nil
      end

      # @return [Array<String>]
      def registered_callables
        self.class.handlers.keys
      end
    end
  end
end
