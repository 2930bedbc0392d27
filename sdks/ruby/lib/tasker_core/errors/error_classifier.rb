# frozen_string_literal: true

module TaskerCore
  module Errors
    # Says which errors are worth another attempt.
    module ErrorClassifier
      # Errors that the next attempt would end with, too.
      PERMANENT_ERROR_CLASSES = [ConfigurationError, DatabaseError, PermanentError, FFIError].freeze

      # Errors that may be gone at the next attempt.
      RETRYABLE_ERROR_CLASSES = [RetryableError, NetworkError, TimeoutError, OrchestrationError, ServerError].freeze

      # @param error [Exception]
      # @return [Boolean] whether another attempt makes sense; true for errors that nobody classified
      def self.retryable?(error)
        PERMANENT_ERROR_CLASSES.none? { |permanent| error.is_a?(permanent) }
      end
    end
  end
end
