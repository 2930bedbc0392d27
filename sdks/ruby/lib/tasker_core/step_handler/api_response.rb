# frozen_string_literal: true

require 'json'
require 'time'

module TaskerCore
  module StepHandler
    # The answer to an HTTP request.
    class ApiResponse
      # Response headers; names are read in any case.
      class Headers < Hash
        # @param headers [Hash]
        def initialize(headers)
          super()
          headers.each { |name, value| store(name.to_s.downcase, value.is_a?(Array) ? value.join(', ') : value.to_s) }
        end

        # @return [String, nil]
        def [](name)
          super(name.to_s.downcase.tr('_', '-'))
        end
      end

      # @return [Integer]
      attr_reader :status
      # @return [Object] what was read from JSON if the response says that it is JSON, else the text
      attr_reader :body
      # @return [Headers]
      attr_reader :headers
      # @return [String] as +Not Found+
      attr_reader :reason_phrase

      # @return [Boolean] whether a request that got this status may succeed later: 5xx, 408 and 429
      def self.retryable_status?(status)
        status.to_i >= 500 || [408, 429].include?(status.to_i)
      end

      # @param headers [Hash, nil]
      # @return [String, nil] the value of Retry-After
      def self.retry_after_header(headers)
        pair = (headers || {}).find { |name, _| name.to_s.downcase.tr('_', '-') == 'retry-after' }
        pair && pair.last.to_s
      end

      # @param headers [Hash, nil]
      # @return [Numeric, nil] the seconds that Retry-After asks for; nil if it says nothing that can be read
      def self.retry_after_seconds(headers)
        value = retry_after_header(headers)
        return nil if value.nil?
        return value.to_i if value.match?(/\A\s*\d+\s*\z/)

        [(Time.httpdate(value) - Time.now).ceil, 0].max
      rescue ArgumentError
        nil
      end

      # @param status [Integer]
      # @param headers [Hash]
      # @param body [Object] text, or what was already read from it
      # @param reason_phrase [String, nil]
      def initialize(status:, headers: {}, body: nil, reason_phrase: nil)
        @status = status
        @headers = Headers.new(headers || {})
        @body = read(body)
        @reason_phrase = reason_phrase.to_s
      end

      # @return [Boolean] whether the status is 200 to 299
      def success?
        (200..299).cover?(status)
      end
      alias ok? success?

      # @return [Boolean] whether the same request may succeed later: 5xx, 408 and 429
      def retryable?
        self.class.retryable_status?(status)
      end

      # @return [Numeric, nil] the seconds that Retry-After asks for
      def retry_after
        self.class.retry_after_seconds(headers)
      end

      # @return [String] what went wrong, as +HTTP 404: no such order+
      def error_message
        "HTTP #{status}: #{message_in_body || (reason_phrase.empty? ? 'no success' : reason_phrase)}"
      end

      private

      def read(body)
        return Types::IndifferentHash.wrap(body) unless body.is_a?(String)
        return body unless headers['content-type'].to_s.match?(%r{\bapplication/(\S+\+)?json\b}i)

        Types::IndifferentHash.wrap(JSON.parse(body))
      rescue JSON::ParserError
        body
      end

      # Services have many ways to say it.
      def message_in_body
        return nil unless body.is_a?(Hash)

        %w[error message detail error_message msg].each do |key|
          value = body[key]
          return value if value.is_a?(String)
          return value['message'].to_s if value.is_a?(Hash) && value.key?('message')
        end
        nil
      end
    end
  end
end
