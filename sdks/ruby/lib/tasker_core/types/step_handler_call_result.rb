# frozen_string_literal: true

module TaskerCore
  module Types
    # What a handler's +call+ returns: {Success}, {Error} or {CheckpointYield}.
    module StepHandlerCallResult
      # The step is done.
      class Success < Record
        # @!attribute [r] result
        #   @return [Object] what later steps see; anything with a JSON form
        # @!attribute [r] metadata
        #   @return [Hash] facts about the attempt, kept with the result
        attributes :result, metadata: -> { {} }

        # @return [true]
        def success
          true
        end
        alias success? success

        # @return [false]
        def checkpoint?
          false
        end
      end

      # The attempt failed.
      class Error < Record
        # @!attribute [r] error_type
        #   @return [String] see {ErrorTypes}
        # @!attribute [r] message
        #   @return [String] for people
        # @!attribute [r] error_code
        #   @return [String, nil] for programs
        # @!attribute [r] retryable
        #   @return [Boolean] whether another attempt makes sense; false by default
        # @!attribute [r] metadata
        #   @return [Hash] facts about the attempt, kept with the failure
        # @!attribute [r] orchestration_metadata
        #   @return [Hash, nil] when to try again: +{ headers: { 'retry-after' => '7' } }+
        attributes :error_type, :message, error_code: nil, retryable: false, metadata: -> { {} },
                                          orchestration_metadata: nil

        def initialize(**values)
          super
          return unless error_type.to_s.empty?

          raise ArgumentError, 'error_type must be a non-empty String'
        end

        # @return [false]
        def success
          false
        end
        alias success? success

        # @return [false]
        def checkpoint?
          false
        end
      end

      # A batch worker saves how far it is and wants to go on from there.
      class CheckpointYield < Record
        # @!attribute [r] cursor
        #   @return [Object] where to go on; anything with a JSON form
        # @!attribute [r] items_processed
        #   @return [Integer] items done since the batch's beginning
        # @!attribute [r] accumulated_results
        #   @return [Object, nil] sums so far
        attributes :cursor, :items_processed, accumulated_results: nil

        def initialize(**values)
          super
          return if items_processed.is_a?(Integer) && !items_processed.negative?

          raise ArgumentError, "items_processed must be an Integer of 0 or more, got #{items_processed.inspect}"
        end

        # @return [false]
        def success
          false
        end
        alias success? success

        # @return [true]
        def checkpoint?
          true
        end

        # @return [Hash{Symbol => Object}] the checkpoint with the ids that it belongs to
        def to_checkpoint_data(step_uuid:, event_id: nil)
          { event_id: event_id, step_uuid: step_uuid, cursor: cursor, items_processed: items_processed,
            accumulated_results: accumulated_results }
        end
      end

      # Errors of models that an application may have loaded.
      INVALID_INPUT = %w[ActiveModel::ValidationError Dry::Struct::Error Dry::Types::CoercionError].freeze
      private_constant :INVALID_INPUT

      module_function

      # @return [Success]
      def success(result:, metadata: {})
        Success.new(result: result, metadata: metadata || {})
      end

      # @return [Error]
      # @raise [ArgumentError] if +error_type+ is empty
      def error(error_type:, message:, error_code: nil, retryable: false, metadata: {}, orchestration_metadata: nil)
        Error.new(error_type: error_type, message: message, error_code: error_code, retryable: retryable,
                  metadata: metadata || {}, orchestration_metadata: orchestration_metadata)
      end

      # As {.error}; the message may also be called +error_message+, and the type is +UnexpectedError+ by default.
      #
      # @return [Error]
      def failure(message: nil, error_message: nil, error_type: ErrorTypes::UNEXPECTED_ERROR, **rest)
        error(message: message || error_message || error_type, error_type: error_type, **rest)
      end

      # @return [CheckpointYield]
      # @raise [ArgumentError] if +items_processed+ is not an Integer of 0 or more
      def checkpoint_yield(cursor:, items_processed:, accumulated_results: nil)
        CheckpointYield.new(cursor: cursor, items_processed: items_processed,
                            accumulated_results: accumulated_results)
      end

      # Turns whatever a handler returned into a result. A Hash that says itself whether it is a +success+ is read
      # as a result; every other value is what the step leaves behind.
      #
      # @return [Success, Error, CheckpointYield]
      def from_handler_output(output)
        case output
        when Success, Error, CheckpointYield then output
        when Hash then from_hash(output)
        else wrapped(output)
        end
      end

      # Turns an exception that left a handler into a failure.
      #
      # @return [Error]
      def from_exception(exception)
        case exception
        when Errors::ValidationError
          from_error(exception, ErrorTypes::VALIDATION_ERROR, false, field: exception.field)
        when Errors::PermanentError
          from_error(exception, ErrorTypes::PERMANENT_ERROR, false)
        when Errors::RetryableError
          from_error(exception, ErrorTypes::RETRYABLE_ERROR, true, retry_after: exception.retry_after)
        when Errors::TimeoutError
          from_error(exception, 'TimeoutError', true)
        when Errors::NetworkError
          from_error(exception, ErrorTypes::RETRYABLE_ERROR, true, status_code: exception.status_code)
        else
          invalid_input?(exception) ? from_invalid_input(exception) : from_unexpected(exception)
        end
      end

      # @return [Hash, nil] the orchestration metadata that asks for a pause of so many seconds
      def retry_after_hint(seconds)
        return nil unless seconds.is_a?(Numeric) && seconds.real? && !seconds.negative?

        { headers: { 'retry-after' => seconds.ceil.to_s } }
      end

      class << self
        private

        def from_hash(hash)
          given = hash.transform_keys { |key| key.respond_to?(:to_sym) ? key.to_sym : key }
          case given[:success]
          when true then success(result: given.fetch(:result) { given.except(:success, :metadata) },
                                 metadata: given[:metadata])
          when false then failure(**given.slice(:message, :error_message, :error_code, :retryable, :metadata),
                                  error_type: given[:error_type] || ErrorTypes::UNEXPECTED_ERROR)
          else wrapped(hash)
          end
        end

        def wrapped(output)
          success(result: output, metadata: { wrapped: true, original_type: output.class.name })
        end

        def from_error(exception, error_type, retryable, **facts)
          code = exception.respond_to?(:error_code) ? exception.error_code : nil
          error(error_type: error_type, message: exception.message, error_code: code, retryable: retryable,
                metadata: { context: exception.context, **facts }.compact,
                orchestration_metadata: retry_after_hint(facts[:retry_after]))
        end

        # The same input is invalid again at the next attempt.
        def invalid_input?(exception)
          exception.class.ancestors.any? { |ancestor| INVALID_INPUT.include?(ancestor.name) }
        end

        def from_invalid_input(exception)
          error(error_type: ErrorTypes::VALIDATION_ERROR, message: exception.message,
                metadata: { exception_class: exception.class.name })
        end

        def from_unexpected(exception)
          error(error_type: ErrorTypes::UNEXPECTED_ERROR, message: exception.message,
                retryable: Errors::ErrorClassifier.retryable?(exception),
                metadata: { exception_class: exception.class.name,
                            stack_trace: (exception.backtrace || []).first(10) })
        end
      end
    end
  end
end
