# frozen_string_literal: true

module TaskerCore
  module StepHandler
    module Mixins
      # Builds the results of calls of HTTP APIs; part of {API}.
      module ApiResults
        # A response without a body is nil, too.
        NOT_GIVEN = Object.new.freeze
        private_constant :NOT_GIVEN

        # Builds the result of a call that went well: +{ 'data', 'status', 'headers' }+, or +result+ as it is.
        #
        # @param response [ApiResponse, nil] stands for +data+, +status+ and +headers+
        # @param data [Object] nil is a response without a body
        # @param result [Object, nil] the whole result
        # @param execution_time_ms [Numeric, nil]
        # @param metadata [Hash]
        # @return [Types::StepHandlerCallResult::Success]
        # @raise [ArgumentError] if there is nothing of +response+, +data+ and +result+
        def api_success(response = nil, data: NOT_GIVEN, result: nil, status: nil, headers: nil,
                        execution_time_ms: nil, metadata: {})
          if result.nil?
            raise ArgumentError, 'api_success needs data: (or a response, or result:)' if response.nil? && data.equal?(NOT_GIVEN)

            result = { 'data' => data.equal?(NOT_GIVEN) ? response.body : data,
                       'status' => status || response&.status || 200,
                       'headers' => (headers || response&.headers || {}).to_h }
            result['execution_time_ms'] = execution_time_ms unless execution_time_ms.nil?
          end
          success(result: result, metadata: { api_call: true }.merge(metadata))
        end

        # Builds the failure of a call that did not go well. The header Retry-After says when to try again.
        #
        # @param response [ApiResponse, nil] stands for +message+, +status+ and +headers+
        # @param message [String]
        # @param status [Integer, nil]
        # @param error_type [String, nil] by default +RetryableError+ if the status is 5xx, 408 or 429,
        #   +PermanentError+ if it is another 4xx, else +UnexpectedError+
        # @param headers [Hash]
        # @param execution_time_ms [Numeric, nil]
        # @param metadata [Hash]
        # @return [Types::StepHandlerCallResult::Error]
        def api_failure(response = nil, message: nil, status: nil, error_type: nil, headers: nil,
                        execution_time_ms: nil, metadata: {})
          status ||= response&.status
          headers ||= response&.headers || {}
          facts = { api_call: true, status: status, headers: headers.to_h, execution_time_ms: execution_time_ms }.compact
          wait = ApiResponse.retry_after_header(headers)
          Types::StepHandlerCallResult.error(
            error_type: error_type || error_type_of(status),
            message: message || response&.error_message || 'API call failed',
            retryable: status ? ApiResponse.retryable_status?(status) : error_type == Types::ErrorTypes::RETRYABLE_ERROR,
            metadata: facts.merge(metadata), orchestration_metadata: wait && { headers: { 'retry-after' => wait } }
          )
        end

        # Builds a retryable failure of type +connection_error+.
        #
        # @param error [Exception]
        # @param context [String, nil] what was being done, as +fetching order+
        # @return [Types::StepHandlerCallResult::Error]
        def connection_error(error, context = nil)
          transport_failure('Connection error', 'connection_error', error, context)
        end

        # Builds a retryable failure of type +timeout+.
        #
        # @param error [Exception]
        # @param context [String, nil] what was being done, as +fetching order+
        # @return [Types::StepHandlerCallResult::Error]
        def timeout_error(error, context = nil)
          transport_failure('Request timeout', 'TimeoutError', error, context)
        end

        private

        def error_type_of(status)
          return Types::ErrorTypes::UNEXPECTED_ERROR if status.nil? || status < 400

          ApiResponse.retryable_status?(status) ? Types::ErrorTypes::RETRYABLE_ERROR : Types::ErrorTypes::PERMANENT_ERROR
        end

        def transport_failure(kind, error_type, error, context)
          doing = context ? " while #{context}" : ''
          Types::StepHandlerCallResult.error(error_type: error_type, message: "#{kind}#{doing}: #{error.message}",
                                             retryable: true, metadata: { exception_class: error.class.name })
        end
      end
    end
  end
end
