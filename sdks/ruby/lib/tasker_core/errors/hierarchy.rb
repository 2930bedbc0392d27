# frozen_string_literal: true

module TaskerCore
  # What handlers raise to say whether another attempt is worth while.
  #
  # Every class takes the message first, then keywords, all of them optional:
  # +context+ (a Hash that is kept with the failure) and +error_category+ (a word of your own).
  module Errors
    # Base of all errors of this gem.
    class Error < StandardError
      # @return [String, Symbol, nil] as given to the constructor
      attr_reader :error_category

      # @param message [String, nil] by default the class's name
      # @param error_category [String, Symbol, nil] a word of your own about the kind of error
      def initialize(message = nil, error_category: nil)
        super(message)
        @error_category = error_category
      end

      # @return [String] the class's name without its modules
      def error_class
        self.class.name.to_s.split('::').last.to_s
      end
    end

    # Base of the errors that carry a context.
    class ContextualError < Error
      # @return [Hash] facts about the error, kept with the failure
      attr_reader :context

      # @param context [Hash] facts about the error
      def initialize(message = nil, context: {}, error_category: nil)
        super(message, error_category: error_category)
        @context = context || {}
      end
    end
    private_constant :ContextualError

    # The worker or client is set up wrongly; no attempt will help.
    class ConfigurationError < Error; end

    # Base of the errors that a step's own work ends with.
    class ProceduralError < ContextualError; end

    # The engine could not do its part; retryable.
    class OrchestrationError < Error; end

    # A database refused; not retryable.
    class DatabaseError < Error; end

    # Try again later.
    class RetryableError < ProceduralError
      # @return [Numeric, nil] seconds to wait, instead of the step's own backoff
      attr_reader :retry_after

      # @param retry_after [Numeric, nil] seconds to wait, instead of the step's own backoff
      def initialize(message = nil, retry_after: nil, context: {}, error_category: nil)
        super(message, context: context, error_category: error_category)
        @retry_after = retry_after
      end
    end

    # Another attempt would fail the same way.
    class PermanentError < ProceduralError
      # @return [String, nil] a code for programs
      attr_reader :error_code

      # @param error_code [String, nil] a code for programs
      def initialize(message = nil, error_code: nil, context: {}, error_category: nil)
        super(message, context: context, error_category: error_category)
        @error_code = error_code
      end
    end

    # Something took too long; retryable.
    class TimeoutError < ProceduralError
      # @return [Numeric, nil] how long was waited, in seconds
      attr_reader :timeout_duration

      # @param timeout_duration [Numeric, nil] how long was waited, in seconds
      def initialize(message = nil, timeout_duration: nil, context: {}, error_category: nil)
        super(message, context: context, error_category: error_category)
        @timeout_duration = timeout_duration
      end
    end

    # A service could not be reached or did not work; retryable.
    class NetworkError < ProceduralError
      # @return [Integer, nil] the HTTP status, if there was an answer
      attr_reader :status_code

      # @param status_code [Integer, nil] the HTTP status, if there was an answer
      def initialize(message = nil, status_code: nil, context: {}, error_category: nil)
        super(message, context: context, error_category: error_category)
        @status_code = status_code
      end
    end

    # The input is wrong; not retryable.
    class ValidationError < PermanentError
      # @return [String, Symbol, nil] the field that is wrong
      attr_reader :field

      # @param field [String, Symbol, nil] the field that is wrong
      def initialize(message = nil, field: nil, error_code: nil, context: {}, error_category: nil)
        super(message, error_code: error_code, context: context, error_category: error_category)
        @field = field
      end
    end

    # Something that the step needs does not exist; not retryable.
    class NotFoundError < PermanentError
      # @return [String, Symbol, nil] the kind of thing that does not exist
      attr_reader :resource_type

      # @param resource_type [String, Symbol, nil] the kind of thing that does not exist
      def initialize(message = nil, resource_type: nil, error_code: nil, context: {}, error_category: nil)
        super(message, error_code: error_code, context: context, error_category: error_category)
        @resource_type = resource_type
      end
    end

    # A native library failed; not retryable. This gem has none: the class is there for code that rescues it.
    class FFIError < ContextualError
      # @return [String, Symbol, nil] what was being done
      attr_reader :operation

      # @param operation [String, Symbol, nil] what was being done
      def initialize(message = nil, operation: nil, context: {}, error_category: nil)
        super(message, context: context, error_category: error_category)
        @operation = operation
      end
    end

    # The Tasker server failed; retryable.
    class ServerError < ContextualError
      # @return [String, Symbol, nil] what was being done
      attr_reader :operation

      # @param operation [String, Symbol, nil] what was being done
      def initialize(message = nil, operation: nil, context: {}, error_category: nil)
        super(message, context: context, error_category: error_category)
        @operation = operation
      end
    end
  end
end
