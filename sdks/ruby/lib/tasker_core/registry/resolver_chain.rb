# frozen_string_literal: true

module TaskerCore
  module Registry
    # A template names a resolver that the chain does not have.
    class ResolverNotFoundError < Errors::Error; end

    # For resolvers of an application that want to raise; the chain itself returns nil instead.
    class ResolutionError < Errors::Error; end

    # Asks several resolvers, in the order of their priority. Threads may share it.
    class ResolverChain
      # @return [ResolverChain] what was registered, then handlers from blocks, then constants
      def self.default
        new([Resolvers::ExplicitMappingResolver.new, Resolvers::FunctionalResolver.new,
             Resolvers::ClassConstantResolver.new])
      end

      # @return [Array<BaseResolver>] in the order in which they are asked
      attr_reader :resolvers

      # @param resolvers [Array<BaseResolver>]
      def initialize(resolvers = [])
        @resolvers = []
        @lock = Mutex.new
        resolvers.each { |resolver| add_resolver(resolver) }
      end

      # Puts a resolver in its place; among equal priorities the one that was added first is asked first.
      #
      # @return [self]
      def add_resolver(resolver)
        # A new Array, so that a resolution under way in another thread keeps the old one.
        @lock.synchronize do
          before, after = @resolvers.partition { |other| other.priority <= resolver.priority }
          @resolvers = [*before, resolver, *after]
        end
        self
      end
      alias with_resolver add_resolver

      # @return [Boolean] whether there was a resolver of that name
      def remove_resolver(name)
        @lock.synchronize do
          before = @resolvers.size
          @resolvers = @resolvers.reject { |resolver| name_of(resolver) == name.to_s }
          @resolvers.size < before
        end
      end

      # @return [BaseResolver, nil]
      def get_resolver(name)
        @resolvers.find { |resolver| name_of(resolver) == name.to_s }
      end

      # @return [Resolvers::ExplicitMappingResolver, nil] the table that {#register} writes to
      def explicit_resolver
        @resolvers.find { |resolver| resolver.is_a?(Resolvers::ExplicitMappingResolver) }
      end

      # Finds the handler of a definition. One that names a resolver is given to that one alone.
      #
      # @param definition [Types::HandlerDefinition]
      # @param config [Hash] handed on to the resolvers
      # @return [Object, nil] nil if there is no such handler, or it has no such method
      # @raise [ResolverNotFoundError] if the definition names a resolver that the chain does not have
      def resolve(definition, config = {})
        handler = find(definition, config)
        handler && wrap_for_method_dispatch(handler, definition)
      end

      # @return [Boolean] whether any resolver, or the named one, would try
      def can_resolve?(definition, config = {})
        asked = definition.has_resolver_hint? ? [get_resolver(definition.resolver)].compact : @resolvers
        asked.any? { |resolver| resolver.can_resolve?(definition, config) }
      end

      # Registers a handler in the chain's table.
      #
      # @return [self]
      # @raise [ResolutionError] if the chain has no table
      def register(key, handler)
        table = explicit_resolver || raise(ResolutionError, 'the chain has no ExplicitMappingResolver')
        table.register(key, handler)
        self
      end

      # @return [Array<String>] the callables that the resolvers know in advance
      def registered_callables
        @resolvers.flat_map(&:registered_callables).uniq
      end

      # @return [Array<Hash{Symbol => Object}>] +name+, +priority+ and number of known +callables+ of each resolver
      def chain_info
        @resolvers.map do |resolver|
          { name: name_of(resolver), priority: resolver.priority, callables: resolver.registered_callables.size }
        end
      end

      # @return [Integer]
      def size
        @resolvers.size
      end

      # @return [Array<String>] in the order in which they are asked
      def resolver_names
        @resolvers.map { |resolver| name_of(resolver) }
      end

      # @return [Object, nil] the handler with +call+ being the method that is wanted; nil if it has no such method
      def wrap_for_method_dispatch(handler, definition)
        return handler unless definition.uses_method_dispatch?

        MethodDispatchWrapper.new(handler, definition.effective_method)
      rescue ArgumentError
        nil
      end

      private

      def find(definition, config)
        return hinted(definition).resolve(definition, config) if definition.has_resolver_hint?

        @resolvers.each do |resolver|
          handler = resolver.resolve(definition, config) if resolver.can_resolve?(definition, config)
          return handler if handler
        end
        nil
      end

      def hinted(definition)
        get_resolver(definition.resolver) ||
          raise(ResolverNotFoundError,
                "there is no resolver #{definition.resolver.inspect}, only #{resolver_names.join(', ')}")
      end

      def name_of(resolver)
        (resolver.respond_to?(:name) ? resolver.name : resolver.resolver_name).to_s
      end
    end
  end
end
