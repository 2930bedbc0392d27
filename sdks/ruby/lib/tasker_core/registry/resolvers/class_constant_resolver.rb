# frozen_string_literal: true

module TaskerCore
  module Registry
    module Resolvers
      # Handlers by the constant path of their class: +Handlers::ProcessOrder+.
      class ClassConstantResolver < BaseResolver
        # @return [String] +class_constant+
        def name
          'class_constant'
        end

        # @return [Integer] 100: asked when nothing else knows the callable
        def priority
          100
        end

        # @return [Boolean] whether the callable is the path of a class that has the method that is wanted
        def can_resolve?(definition, _config = {})
          !find(definition).nil?
        end

        # @return [Object, nil] a new instance
        def resolve(definition, _config = {})
          handler_class = find(definition)
          handler_class && instantiate(handler_class, definition)
        end

        # @return [Array<String>] the constants of all loaded handler classes
        def registered_callables
          StepHandler::Base.named_handler_classes.map(&:name)
        end

        private

        def find(definition)
          return nil unless definition.callable.match?(/\A[A-Z]/)

          # An application that loads classes on demand does so here.
          constant = Object.const_get(definition.callable)
          constant if constant.is_a?(Class) && runs?(constant, definition.effective_method)
        rescue NameError
          nil
        end

        def runs?(handler_class, method)
          handler_class.public_method_defined?(method) &&
            handler_class.instance_method(method).owner != StepHandler::Base
        end
      end
    end
  end
end
