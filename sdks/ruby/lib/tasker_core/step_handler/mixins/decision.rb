# frozen_string_literal: true

require 'time'

module TaskerCore
  module StepHandler
    module Mixins
      # Builds the results of a decision step. The names are those of steps of the task's template; the engine checks
      # them. A +routing_context+ is free data about the decision, kept with the result.
      module Decision
        # Goes on with the named steps.
        #
        # @param steps [String, Array<String>]
        # @param result_data [Hash] becomes part of the result
        # @param routing_context [Hash, nil]
        # @param metadata [Hash]
        # @return [Types::StepHandlerCallResult::Success]
        # @raise [Errors::PermanentError] code +INVALID_DECISION_OUTCOME+, if there is no step or one that has no name
        def decision_success(steps:, result_data: {}, routing_context: nil, metadata: {})
          names = Array(steps)
          unless Types::DecisionPointOutcome.valid_step_names?(names)
            raise invalid_outcome("steps must be names of steps, got #{steps.inspect}")
          end

          decided(Types::DecisionPointOutcome.create_steps(names), result_data, routing_context, metadata)
        end

        # Succeeds without going on to any of the decision's steps.
        #
        # @param reason [String, nil] why; becomes part of the result
        # @param result_data [Hash] becomes part of the result
        # @param routing_context [Hash, nil]
        # @param metadata [Hash]
        # @return [Types::StepHandlerCallResult::Success]
        def decision_no_branches(reason: nil, result_data: {}, routing_context: nil, metadata: {})
          data = reason.nil? ? result_data : result_data.merge(reason: reason)
          decided(Types::DecisionPointOutcome.no_branches, data, routing_context, metadata)
        end

        # As {#decision_no_branches}; the reason may also stand alone: +skip_branches('nothing to do')+.
        def skip_branches(stated_reason = nil, reason: nil, **rest)
          decision_no_branches(reason: stated_reason || reason, **rest)
        end

        # Fails because no decision can be made.
        #
        # @param message [String]
        # @param error_type [String]
        # @param retryable [Boolean] false by default: another attempt would not help
        # @param metadata [Hash]
        # @return [Types::StepHandlerCallResult::Error]
        def decision_failure(message:, error_type: 'decision_error', retryable: false, metadata: {})
          failure(message: message, error_type: error_type, retryable: retryable,
                  metadata: { decision_point: true }.merge(metadata))
        end

        # Goes on as an outcome of your own says.
        #
        # @param outcome [Hash, Types::DecisionPointOutcome::CreateSteps, Types::DecisionPointOutcome::NoBranches]
        # @return [Types::StepHandlerCallResult::Success]
        # @raise [Errors::PermanentError] code +INVALID_DECISION_OUTCOME+, if it is not one
        def decision_with_custom_outcome(outcome:, result_data: {}, routing_context: nil, metadata: {})
          decided(validate_decision_outcome!(outcome), result_data, routing_context, metadata)
        end

        # @return [Types::DecisionPointOutcome::CreateSteps, Types::DecisionPointOutcome::NoBranches] the same outcome
        # @raise [Errors::PermanentError] code +INVALID_DECISION_OUTCOME+, if it is not one
        def validate_decision_outcome!(outcome)
          found = outcome.respond_to?(:to_h) ? Types::DecisionPointOutcome.from_hash(outcome.to_h) : nil
          found || raise(invalid_outcome("not an outcome of a decision: #{outcome.inspect}"))
        end

        # @return [Array<String>] with what the mixin adds
        def capabilities
          super + %w[decision_point dynamic_workflow step_creation]
        end

        # @return [Hash] with what the mixin adds
        def config_schema
          super.tap do |schema|
            schema[:properties].update(decision_thresholds: { type: 'object' }, decision_metadata: { type: 'object' })
          end
        end

        private

        def decided(outcome, result_data, routing_context, metadata)
          result = result_data.to_h.merge(decision_point_outcome: outcome.to_h)
          result[:routing_context] = routing_context unless routing_context.nil? || routing_context.empty?
          facts = { decision_point: true, outcome_type: outcome.type, branches_created: outcome.step_names.size,
                    processed_at: Time.now.utc.iso8601, processed_by: handler_name }
          success(result: result, metadata: facts.merge(metadata))
        end

        def invalid_outcome(message)
          Errors::PermanentError.new(message, error_code: 'INVALID_DECISION_OUTCOME')
        end
      end
    end
  end
end
