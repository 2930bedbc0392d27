# frozen_string_literal: true

module TaskerCore
  module Types
    # How names are spelled.
    module Names
      # @param name [String] a name of a constant
      # @return [String] the same in snake_case: +process_order+ for +ProcessOrder+
      def self.snake_case(name)
        name.gsub('::', '_').gsub(/([A-Z]+)([A-Z][a-z])/, '\1_\2').gsub(/([a-z\d])([A-Z])/, '\1_\2')
            .tr(' -', '__').downcase
      end

      # @param constant [Module]
      # @return [String] the last part of its name; empty if it has none
      def self.short(constant)
        constant.name.to_s.split('::').last.to_s
      end
    end
  end
end
