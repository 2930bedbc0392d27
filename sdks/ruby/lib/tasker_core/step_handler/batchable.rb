# frozen_string_literal: true

module TaskerCore
  module StepHandler
    # A handler of a batch: analyzer, worker or aggregator; see {Mixins::Batchable}.
    class Batchable < Base
      include Mixins::Batchable
    end
  end
end
