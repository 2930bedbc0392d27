# frozen_string_literal: true

require_relative 'types/indifferent_hash'
require_relative 'models/dependency_results_wrapper'
require_relative 'models/wrappers'
require_relative 'models/task_sequence_step_wrapper'

module TaskerCore
  # Readers for the parts of what a worker is given for one attempt. The keys of what they are made of may be Strings
  # or Symbols; what is absent is nil.
  module Models
  end
end
