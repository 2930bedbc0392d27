# frozen_string_literal: true

require_relative 'step_handler/base'
require_relative 'step_handler/mixins'
require_relative 'step_handler/api'
require_relative 'step_handler/decision'
require_relative 'step_handler/batchable'
require_relative 'step_handler/functional'

module TaskerCore
  # Base class, mixins and factories for handlers.
  module StepHandler
  end
end
