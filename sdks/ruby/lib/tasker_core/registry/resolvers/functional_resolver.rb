# frozen_string_literal: true

module TaskerCore
  module Registry
    module Resolvers
      # Handlers from blocks, by the name that they were declared with; see {StepHandler::Functional}.
      class FunctionalResolver < BaseResolver
        # @return [String] +functional+
        def name
          'functional'
        end

        # @return [Integer] 20: after what was registered, before constants
        def priority
          20
        end

        # @return [Boolean] whether a block was declared under this name
        def can_resolve?(definition, _config = {})
          !StepHandler::Functional.handler_class(definition.callable).nil?
        end

        # @return [Object, nil]
        def resolve(definition, _config = {})
          handler_class = StepHandler::Functional.handler_class(definition.callable)
          handler_class && instantiate(handler_class, definition)
        end

        # @return [Array<String>]
        def registered_callables
          StepHandler::Functional.declared_names
        end
      end
    end
  end
end
