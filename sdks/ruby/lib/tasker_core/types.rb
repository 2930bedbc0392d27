# frozen_string_literal: true

require_relative 'types/indifferent_hash'
require_relative 'types/names'
require_relative 'types/json_value'
require_relative 'types/error_types'
require_relative 'types/record'
require_relative 'types/handler_definition'
require_relative 'types/step_handler_call_result'
require_relative 'types/decision_point_outcome'
require_relative 'types/batch_processing_outcome'
require_relative 'types/step_context'
require_relative 'types/task_types'
require_relative 'types/template_types'
require_relative 'types/client_types'

module TaskerCore
  # Values that handlers, workers and clients exchange.
  module Types
  end
end
