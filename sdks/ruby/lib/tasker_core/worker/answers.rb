# frozen_string_literal: true

require 'json'
require 'time'
require 'tasker_core/worker/errors'

module TaskerCore
  module Worker
    # What answers of a server mean. Nothing here does input or output.
    module Answers
      # Code of the error that tells a worker to register again.
      WORKER_UNKNOWN = 'WORKER_UNKNOWN'

      # Statuses that are worth another try, besides 5xx.
      TEMPORARY = [408, 425, 429].freeze

      # Statuses of a request that is wrong by itself.
      WRONG = [400, 409, 413, 415, 422].freeze

      # The server does not know the worker, or not any more.
      class UnknownWorker < StandardError; end

      class << self
        # @param answer [Client::Connection::Answer] an answer
        # @return [Hash] the body of a good one
        # @raise [ServerUnavailable, AccessRefused, RequestRefused, UnknownWorker] it is none
        def read(answer)
          return parsed(answer.body) if answer.status == 200

          error = error_in(answer)
          told = "the server answered #{answer.status} #{error['code']}: #{error['message']}"
          status = answer.status
          raise UnknownWorker, told if error['code'] == WORKER_UNKNOWN
          raise ServerUnavailable.new(told, retry_after: retry_after(answer)) if temporary?(status)
          raise AccessRefused.new(told, status: status) unless WRONG.include?(status)

          raise RequestRefused.new(told, status: status, reason: error['message'], details: details_of(error))
        end

        # @param text [String] JSON
        # @return [Object] what it says, however deep
        # @raise [ServerUnavailable] it is not JSON: some other program answered
        def parsed(text)
          JSON.parse(text, max_nesting: false)
        rescue JSON::ParserError, EncodingError => e
          raise ServerUnavailable, "the answer cannot be read: #{e.message[0, 200].scrub}"
        end

        # @return [Float, nil] seconds that an answer asks to wait
        def retry_after(answer, now: Time.now)
          value = answer.headers['retry-after']
          return nil if value.nil?

          seconds = Float(value, exception: false) || (Time.httpdate(value) - now)
          seconds.clamp(0.0, 3600.0).to_f
        rescue ArgumentError
          nil
        end

        # @return [Hash] code, message and details of an answer that is an error
        def error_in(answer)
          error = JSON.parse(answer.body)['error']
          error.is_a?(Hash) ? error : raise(TypeError)
        rescue JSON::ParserError, EncodingError, TypeError, NoMethodError
          { 'code' => 'HTTP', 'message' => answer.body[0, 200].dup.force_encoding('UTF-8').scrub }
        end

        private

        def temporary?(status)
          TEMPORARY.include?(status) || status >= 500
        end

        def details_of(error)
          details = error['details']
          return [] unless details.is_a?(Array)

          details.map { |each| each.is_a?(Hash) ? (each['message'] || each).to_s : each.to_s }
        end
      end
    end
  end
end
