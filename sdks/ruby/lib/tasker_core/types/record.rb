# frozen_string_literal: true

module TaskerCore
  module Types
    # Base of the value objects: named attributes, given as keywords, frozen afterwards.
    class Record
      class << self
        # Declares attributes. Each is read with a method of its name.
        #
        # @param names [Array<Symbol>] attributes that are nil by default
        # @param defaults [Hash{Symbol => Object}] attributes with another default; a Proc is called for one
        def attributes(*names, **defaults)
          @own_defaults = (@own_defaults || {}).merge(names.to_h { |name| [name, nil] }, defaults)
          attr_reader(*names, *defaults.keys)
        end

        # @return [Array<Symbol>] the attributes' names
        def attribute_names
          defaults.keys
        end

        # @return [Hash{Symbol => Object}] the attributes' defaults
        def defaults
          inherited_defaults = superclass.respond_to?(:defaults) ? superclass.defaults : {}
          inherited_defaults.merge(@own_defaults || {})
        end

        # @param hash [Hash] with String or Symbol keys; keys that are no attributes are left out
        # @return [Record]
        def from_hash(hash)
          given = hash.transform_keys(&:to_sym)
          new(**given.slice(*attribute_names))
        end
      end

      # @raise [ArgumentError] if a keyword is no attribute
      def initialize(**values)
        unknown = values.keys - self.class.attribute_names
        raise ArgumentError, "unknown keywords: #{unknown.map(&:inspect).join(', ')}" if unknown.any?

        self.class.defaults.each do |name, default|
          value = values.fetch(name) { default.is_a?(Proc) ? default.call : default }
          instance_variable_set(:"@#{name}", value)
        end
        freeze
      end

      # @return [Hash{Symbol => Object}] all attributes
      def to_h
        self.class.attribute_names.to_h { |name| [name, public_send(name)] }
      end

      # @return [Object] an attribute by its name, as String or Symbol; nil if there is none
      def [](name)
        self.class.attribute_names.include?(name.to_sym) ? public_send(name) : nil
      end

      def ==(other)
        other.class == self.class && other.to_h == to_h
      end
      alias eql? ==

      def hash
        [self.class, to_h].hash
      end

      def inspect
        "#<#{self.class.name} #{to_h.map { |name, value| "#{name}=#{value.inspect}" }.join(' ')}>"
      end
    end
  end
end
