# frozen_string_literal: true

module TaskerCore
  module Registry
    module Resolvers
      # Handlers by the name that they were registered under. Threads may share it.
      class ExplicitMappingResolver < BaseResolver
        # @return [String] +explicit_mapping+ by default
        attr_reader :name

        # @param name [String]
        def initialize(name = 'explicit_mapping')
          super()
          @name = name
          @handlers = {}
          @lock = Mutex.new
        end

        # @return [Integer] 10
        def priority
          10
        end

        # Adds an entry, replacing one with the same key.
        #
        # @param key [String, Symbol]
        # @param handler [Class, Proc, Object] a class (a new instance for every step), or anything that has
        #   +call(context)+, as a Proc
        # @return [self]
        # @raise [ArgumentError] if it cannot be called
        def register(key, handler)
          callable = handler.is_a?(Class) || handler.respond_to?(:call)
          raise ArgumentError, "#{key}: a handler is a class or has call(context), got #{handler.inspect}" unless callable

          @lock.synchronize { @handlers[key.to_s] = handler }
          self
        end

        # @return [Boolean] whether there was such an entry
        def unregister(key)
          @lock.synchronize { !@handlers.delete(key.to_s).nil? }
        end

        # @return [Boolean] whether there is such an entry
        def registered?(key)
          @lock.synchronize { @handlers.key?(key.to_s) }
        end

        # Removes all entries.
        def clear!
          @lock.synchronize { @handlers.clear }
          self
        end

        # @return [Integer]
        def size
          @lock.synchronize { @handlers.size }
        end

        # @return [Array<String>] the keys, in the order of registration
        def registered_callables
          @lock.synchronize { @handlers.keys }
        end

        # @return [Hash{String => Object}] what is registered
        def handlers
          @lock.synchronize { @handlers.dup }
        end

        # @return [Boolean] whether exactly this callable is registered
        def can_resolve?(definition, _config = {})
          registered?(definition.callable)
        end

        # @return [Object, nil]
        def resolve(definition, _config = {})
          handler = @lock.synchronize { @handlers[definition.callable] }
          handler.is_a?(Class) ? instantiate(handler, definition) : handler
        end
      end
    end
  end
end
