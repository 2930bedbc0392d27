# frozen_string_literal: true

module TaskerCore
  module Types
    # What a decision step decided: which steps to create next, or none.
    module DecisionPointOutcome
      # No step of the decision is created.
      class NoBranches < Record
        # @return [String] +no_branches+
        def type
          'no_branches'
        end

        # @return [Array] empty
        def step_names
          []
        end

        # @return [Boolean] false
        def requires_step_creation?
          false
        end

        # @return [Hash{String => Object}] as Tasker reads it
        def to_h
          { 'type' => type }
        end
      end

      # The named steps of the template are created.
      class CreateSteps < Record
        # @!attribute [r] step_names
        #   @return [Array<String>] at least one
        attributes :step_names

        # @raise [ArgumentError] if +step_names+ is not a non-empty Array of non-empty Strings
        def initialize(step_names:)
          unless DecisionPointOutcome.valid_step_names?(step_names)
            raise ArgumentError, "step_names must be one or more names of steps, got #{step_names.inspect}"
          end

          super
        end

        # @return [String] +create_steps+
        def type
          'create_steps'
        end

        # @return [Boolean] true
        def requires_step_creation?
          true
        end

        # @return [Hash{String => Object}] as Tasker reads it
        def to_h
          { 'type' => type, 'step_names' => step_names }
        end
      end

      module_function

      # @return [NoBranches]
      def no_branches
        NoBranches.new
      end

      # @param step_names [Array<String>]
      # @return [CreateSteps]
      # @raise [ArgumentError] if there is no name, or one that is no non-empty String
      def create_steps(step_names)
        CreateSteps.new(step_names: step_names)
      end

      # @param hash [Hash] with the keys +type+ and +step_names+, as Strings or Symbols
      # @return [NoBranches, CreateSteps, nil] nil if it is not an outcome
      def from_hash(hash)
        given = hash.transform_keys(&:to_s)
        case given['type']
        when 'no_branches', 'NoBranches' then no_branches
        when 'create_steps', 'CreateSteps'
          create_steps(given['step_names']) if valid_step_names?(given['step_names'])
        end
      end

      # @return [Boolean] whether it is a non-empty Array of non-empty Strings
      def valid_step_names?(names)
        names.is_a?(Array) && names.any? && names.all? { |name| name.is_a?(String) && !name.empty? }
      end
    end
  end
end
