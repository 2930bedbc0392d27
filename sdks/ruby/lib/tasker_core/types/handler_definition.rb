# frozen_string_literal: true

module TaskerCore
  module Types
    # Which handler a step wants, as its template says it.
    class HandlerDefinition < Record
      # @!attribute [r] callable
      #   @return [String] the handler's name, or the constant path of its class
      # @!attribute [r] initialization
      #   @return [Hash] the handler's configuration; empty by default
      # @!attribute [r] handler_method
      #   @return [String, nil] the method to call; nil is +call+
      # @!attribute [r] resolver
      #   @return [String, nil] the only resolver to ask; nil asks all
      attributes :callable, initialization: -> { {} }, handler_method: nil, resolver: nil

      # @param spec [String, Hash, HandlerDefinition, #callable] how a handler may be given; a Hash has the keys
      #   of a template's +handler+, where the method's is +method+
      # @return [HandlerDefinition]
      def self.from(spec)
        case spec
        when HandlerDefinition then spec
        when String, Symbol then new(callable: spec.to_s)
        when Hash then from_template(spec.transform_keys(&:to_s))
        else from_object(spec)
        end
      end

      def initialize(callable:, initialization: {}, handler_method: nil, resolver: nil)
        super(callable: callable, initialization: initialization || {}, handler_method: handler_method,
              resolver: resolver)
      end

      # @return [String] the method that executes the step
      def effective_method
        uses_method_dispatch? ? handler_method.to_s : 'call'
      end

      # @return [Boolean] whether that is another method than +call+
      def uses_method_dispatch?
        !['', 'call'].include?(handler_method.to_s)
      end

      # @return [Boolean] whether only one resolver is to be asked
      def has_resolver_hint?
        !resolver.to_s.empty?
      end

      class << self
        private

        def from_template(hash)
          new(callable: hash['callable'].to_s, initialization: hash['initialization'],
              handler_method: hash['handler_method'] || hash['method'], resolver: hash['resolver'])
        end

        def from_object(object)
          read = ->(name) { object.public_send(name) if object.respond_to?(name) }
          new(callable: object.callable.to_s, initialization: read.call(:initialization),
              handler_method: read.call(:handler_method), resolver: read.call(:resolver))
        end
      end
    end
  end
end
