# frozen_string_literal: true

require_relative 'errors/hierarchy'
require_relative 'errors/error_classifier'

# The errors can also be named without +Errors+, as in +raise TaskerCore::PermanentError+.
module TaskerCore
  (Errors.constants - [:ErrorClassifier]).each do |name|
    const_set(name, Errors.const_get(name))
  end
end
