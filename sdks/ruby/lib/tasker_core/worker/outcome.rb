# frozen_string_literal: true

require 'json'

module TaskerCore
  module Worker
    # What is reported of an attempt, encoded; what cannot be reported becomes a failure here.
    class Outcome
      # Largest result that is sent, in bytes of JSON. Bodies have at most 16 MiB.
      MOST_BYTES = 15 * 1024 * 1024

      # Error type of a step whose result could not be recorded.
      RESULT_REFUSED = 'result_refused'

      # Longest reason for a refusal that is kept, in characters.
      MOST_REASON = 2_000

      # @return [Hash] the result, as the worker protocol describes it
      attr_reader :result

      # @return [String] the same, encoded
      attr_reader :json

      # @return [Symbol] +:succeeded+, +:failed+ or +:checkpoint+
      attr_reader :kind

      # @param result [Hash] a result
      def initialize(result)
        @result = result
        @json = JSON.generate(result, max_nesting: 0)
        @kind = if result['checkpoint'] then :checkpoint
                else
                  result['success'] ? :succeeded : :failed
                end
      end

      # @return [Boolean] whether it stands for a result that was refused
      def refusal?
        kind == :failed && error_type == RESULT_REFUSED
      end

      # @return [String, nil] why the attempt failed
      def error_type
        result.dig('error', 'error_type')
      end

      # @param lease [Hash] a lease
      # @param result [Hash] what became of it
      # @return [Outcome] the outcome, or a failure if that cannot be sent
      def self.of(lease, result)
        outcome = new(result)
        size = outcome.json.bytesize
        return outcome if size <= MOST_BYTES

        refused(lease, "it takes #{size} bytes, and at most #{MOST_BYTES} can be sent")
      rescue JSON::JSONError, EncodingError, SystemStackError => e
        refused(lease, e.message)
      end

      # @param lease [Hash] a lease
      # @param reason [String] why its result was refused
      # @return [Outcome] a permanent failure that says so
      def self.refused(lease, reason)
        told = reason.to_s.dup.force_encoding('UTF-8').scrub[0, MOST_REASON].gsub("\u0000", '\x00')
        error = { 'message' => "the result cannot be recorded: #{told}", 'error_type' => RESULT_REFUSED,
                  'retryable' => false }
        new('step_uuid' => lease['step_uuid'], 'lease_id' => lease['lease_id'], 'success' => false, 'result' => {},
            'status' => 'failed', 'error' => error, 'metadata' => { 'retryable' => false, 'custom' => {} })
      end
    end
  end
end
