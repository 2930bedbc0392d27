# frozen_string_literal: true

module TaskerCore
  module Types
    # A Hash with String keys that can be read with Symbols, too, at every depth.
    #
    #   cart['total']; cart[:total]; cart.dig(:items, 0, 'sku')
    #
    # #to_h gives an ordinary Hash with String keys.
    class IndifferentHash < Hash
      # @param value [Object] anything that was read from JSON
      # @return [Object] the same with every Hash inside made indifferent
      def self.wrap(value)
        case value
        when IndifferentHash then value
        when Hash then new(value)
        when Array then value.map { |item| wrap(item) }
        else value
        end
      end

      # @param hash [Hash] its content, copied
      def initialize(hash = {})
        super()
        hash.each_pair { |key, value| self[key] = value }
      end

      def []=(key, value)
        super(convert(key), self.class.wrap(value))
      end
      alias store []=

      def [](key)
        super(convert(key))
      end

      def fetch(key, *default, &block)
        super(convert(key), *default, &block)
      end

      def key?(key)
        super(convert(key))
      end
      alias has_key? key?
      alias include? key?
      alias member? key?

      def dig(key, *rest)
        value = self[key]
        rest.empty? || value.nil? ? value : value.dig(*rest)
      end

      def values_at(*keys)
        keys.map { |key| self[key] }
      end

      def fetch_values(*keys, &block)
        keys.map { |key| fetch(key, &block) }
      end

      def slice(*keys)
        self.class.new(super(*keys.map { |key| convert(key) }))
      end

      def except(*keys)
        names = keys.map { |key| convert(key) }
        reject { |key, _| names.include?(key) }
      end

      # What is left or made of the pairs stays indifferent.
      %i[select filter reject transform_values compact].each do |method|
        define_method(method) do |*arguments, &block|
          result = super(*arguments, &block)
          result.is_a?(Hash) ? self.class.new(result) : result
        end
      end

      def delete(key, &block)
        super(convert(key), &block)
      end

      def merge(*others, &block)
        dup.update(*others, &block)
      end

      def update(*others, &block)
        super(*others.map { |other| self.class.wrap(other) }, &block)
      end
      alias merge! update

      def dup
        self.class.new(self)
      end

      # @return [Hash] an ordinary Hash with String keys, at every depth
      def to_h(&block)
        block ? to_h.to_h(&block) : each_with_object({}) { |(key, value), hash| hash[key] = plain(value) }
      end
      alias to_hash to_h

      private

      def convert(key)
        key.is_a?(Symbol) ? key.name : key
      end

      def plain(value)
        case value
        when IndifferentHash then value.to_h
        when Array then value.map { |item| plain(item) }
        else value
        end
      end
    end
  end
end
