# frozen_string_literal: true

module TaskerCore
  module Worker
    # The server cannot be reached, or asks to come back later. Another try may help.
    class ServerUnavailable < StandardError
      # @return [Float, nil] seconds that the server asks to wait
      attr_reader :retry_after

      def initialize(message, retry_after: nil)
        super(message)
        @retry_after = retry_after
      end
    end

    # The server does not let the worker in, or is no Tasker server. No other try will help.
    class AccessRefused < StandardError
      # @return [Integer] the status of the answer
      attr_reader :status

      def initialize(message, status:)
        super(message)
        @status = status
      end

      # @return [Boolean] whether the credentials were refused
      def credentials?
        [401, 403].include?(status)
      end
    end

    # The server does not take a request as it is.
    class RequestRefused < StandardError
      # @return [Integer] the status of the answer
      attr_reader :status

      # @return [Array<String>] what is wrong, a sentence each
      attr_reader :details

      # @return [String] what the server said
      attr_reader :reason

      def initialize(message, status:, reason: message, details: [])
        super(message)
        @status = status
        @reason = reason
        @details = details
      end
    end

    # The server had forgotten the worker, which is registered anew: what it held is lost.
    class RegisteredAgain < StandardError; end

    # The worker cannot start.
    class StartFailed < StandardError; end

    # There are no handlers, and nobody who might register some.
    class NoHandlers < StartFailed; end
  end
end
