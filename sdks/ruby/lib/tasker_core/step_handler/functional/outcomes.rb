# frozen_string_literal: true

module TaskerCore
  module StepHandler
    module Functional
      # What the block of a decision handler returns.
      class Decision
        # @return [Symbol] +:route+ or +:skip+
        attr_reader :kind
        # @return [Array<String>] the steps to go on with
        attr_reader :steps
        # @return [String, nil] why there are none
        attr_reader :reason
        # @return [Hash{Symbol => Object}] free data about the decision
        attr_reader :routing_context

        # Goes on with the named steps of the template.
        #
        # @param steps [String, Array<String>]
        # @return [Decision]
        def self.route(steps, **routing_context)
          new(:route, steps: Array(steps), routing_context: routing_context)
        end

        # Goes on with none of the decision's steps.
        #
        # @param reason [String]
        # @return [Decision]
        def self.skip(reason, **routing_context)
          new(:skip, reason: reason, routing_context: routing_context)
        end

        private_class_method :new

        # @api private
        def initialize(kind, routing_context:, steps: [], reason: nil)
          @kind = kind
          @steps = steps
          @reason = reason
          @routing_context = routing_context
        end
      end

      # What the block of a batch analyzer returns: divide the items into batches of a size.
      class BatchConfig < Types::Record
        # @!attribute [r] total_items
        #   @return [Integer] there are no batches if it is 0
        # @!attribute [r] batch_size
        #   @return [Integer]
        # @!attribute [r] metadata
        #   @return [Hash] becomes part of the result; +reason+ says why there are no batches
        attributes :total_items, :batch_size, metadata: -> { {} }

        def initialize(total_items:, batch_size:, metadata: {})
          super
        end
      end
    end
  end
end
