# frozen_string_literal: true

module TaskerCore
  module Types
    # The usual values of a failure's +error_type+. Any other non-empty String is one, too.
    module ErrorTypes
      # Another attempt would fail the same way.
      PERMANENT_ERROR = 'PermanentError'
      # Another attempt may succeed.
      RETRYABLE_ERROR = 'RetryableError'
      # The input is wrong.
      VALIDATION_ERROR = 'ValidationError'
      # Nobody foresaw it.
      UNEXPECTED_ERROR = 'UnexpectedError'
      # The step's completion could not be handled.
      STEP_COMPLETION_ERROR = 'StepCompletionError'

      # All of them.
      ALL = [PERMANENT_ERROR, RETRYABLE_ERROR, VALIDATION_ERROR, UNEXPECTED_ERROR, STEP_COMPLETION_ERROR].freeze

      # How Tasker spells them, the same for all languages.
      WIRE_NAMES = {
        PERMANENT_ERROR => 'permanent_error', RETRYABLE_ERROR => 'retryable_error',
        VALIDATION_ERROR => 'validation_error', UNEXPECTED_ERROR => 'handler_error',
        STEP_COMPLETION_ERROR => 'handler_error', 'TimeoutError' => 'timeout'
      }.freeze
      private_constant :WIRE_NAMES

      module_function

      # @return [Boolean] whether it is one of the constants here
      def valid?(error_type)
        ALL.include?(error_type)
      end

      # @return [Boolean] whether failures of this type are usually worth another attempt
      def typically_retryable?(error_type)
        [RETRYABLE_ERROR, UNEXPECTED_ERROR].include?(error_type)
      end

      # @return [Boolean] whether failures of this type usually are final
      def typically_permanent?(error_type)
        [PERMANENT_ERROR, VALIDATION_ERROR].include?(error_type)
      end

      # @return [String] the type as Tasker records it: +permanent_error+ for +PermanentError+;
      #   others in snake_case. What has no upper-case letter followed by a lower-case one stays as it is.
      def wire_name(error_type)
        name = error_type.to_s
        return WIRE_NAMES[name] if WIRE_NAMES.key?(name)

        name.match?(/[A-Z][a-z]|[a-z][A-Z]/) ? Names.snake_case(name) : name
      end
    end
  end
end
