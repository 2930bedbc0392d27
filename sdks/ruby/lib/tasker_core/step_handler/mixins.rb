# frozen_string_literal: true

require_relative 'mixins/api'
require_relative 'mixins/decision'
require_relative 'mixins/batchable'

module TaskerCore
  module StepHandler
    # Abilities to add to a handler class: +include TaskerCore::StepHandler::Mixins::API+.
    module Mixins
    end
  end
end
