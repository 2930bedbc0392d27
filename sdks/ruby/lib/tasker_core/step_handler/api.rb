# frozen_string_literal: true

module TaskerCore
  module StepHandler
    # A handler that calls an HTTP API; see {Mixins::API}.
    class Api < Base
      include Mixins::API
    end
  end
end
