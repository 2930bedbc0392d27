# frozen_string_literal: true

require 'tasker_core/errors'

module TaskerCore
  module Client
    # A call failed.
    class Error < Errors::Error
      # @return [String] the method that was called
      attr_reader :operation

      # @return [Integer, nil] the status of the answer; nil if there was none
      attr_reader :status_code

      # @return [String, nil] the server's code, such as +NOT_FOUND+
      attr_reader :code

      # @return [Array] what is wrong, as the server tells it
      attr_reader :details

      # @return [Float, nil] seconds that the server asks to wait
      attr_reader :retry_after

      def initialize(operation, message, status_code: nil, code: nil, details: [], retry_after: nil, unsent: false)
        super("#{operation} failed: #{message}")
        @operation = operation
        @status_code = status_code
        @code = code
        @details = details
        @retry_after = retry_after
        @unsent = unsent
      end

      # @return [Boolean] whether there was no connection, so that the server cannot have seen the call
      def unsent? = @unsent

      # @return [Boolean] whether the same call may succeed later
      def recoverable?
        status_code.nil? || [408, 429].include?(status_code) || status_code >= 500
      end
    end
  end
end
