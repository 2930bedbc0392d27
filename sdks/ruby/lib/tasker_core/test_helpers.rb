# frozen_string_literal: true

require 'securerandom'
require_relative '../tasker_core'
require_relative 'test_helpers/events'

module TaskerCore
  # Helps to test handlers without a server. Load it with +require 'tasker_core/test_helpers'+.
  #
  #   context = TaskerCore::TestHelpers.make_context(input_data: { order_id: 'A-1' })
  #   result = TaskerCore::TestHelpers.run_handler(ProcessOrder, context)
  #   expect(result).to be_success
  module TestHelpers
    module_function

    # @param input_data [Hash] the task's context
    # @param dependency_results [Hash] step name to what its handler returned
    # @param step_config [Hash] the handler's configuration
    # @param step_inputs [Hash] what was given to the step alone, as a batch worker's cursor
    # @param retry_count [Integer] attempts before this one
    # @param max_retries [Integer] the most attempts there may be
    # @param checkpoint [Hash, nil] +cursor+, +items_processed+, +accumulated_results+
    # @param step_name [String]
    # @param handler_name [String]
    # @return [Types::StepContext]
    def make_context(input_data: {}, dependency_results: {}, step_config: {}, step_inputs: {}, retry_count: 0,
                     max_retries: 3, checkpoint: nil, step_name: 'test_step', handler_name: 'test_handler')
      task_uuid = SecureRandom.uuid
      data = {
        task: { task_uuid: task_uuid, task_name: 'test_task', task_version: '1.0.0', namespace_name: 'test',
                correlation_id: task_uuid, context: input_data },
        workflow_step: { workflow_step_uuid: SecureRandom.uuid, task_uuid: task_uuid, name: step_name,
                         template_step_name: step_name, attempts: retry_count, max_attempts: max_retries,
                         inputs: step_inputs, checkpoint: checkpoint },
        dependency_results: dependency_results.transform_values { |value| { 'success' => true, 'result' => value } },
        step_definition: { name: step_name, handler: { callable: handler_name, initialization: step_config } }
      }
      Types::StepContext.new(data)
    end

    # Runs a handler as a worker does, but for the sending: errors become failures.
    #
    # @param handler [Class, Object] a handler class, made with the context's configuration, or a handler
    # @param context [Types::StepContext]
    # @return [Types::StepHandlerCallResult::Success, Types::StepHandlerCallResult::Error,
    #   Types::StepHandlerCallResult::CheckpointYield]
    def run_handler(handler, context)
      table = Registry::Resolvers::ExplicitMappingResolver.new.register('handler', handler)
      definition = Types::HandlerDefinition.new(callable: 'handler', initialization: context.step_config)
      Types::StepHandlerCallResult.from_handler_output(table.resolve(definition).call(context))
    rescue StandardError => e
      Types::StepHandlerCallResult.from_exception(e)
    end
  end
end
