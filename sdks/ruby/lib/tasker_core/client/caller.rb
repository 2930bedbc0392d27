# frozen_string_literal: true

require 'json'
require 'tasker_core/client/connection'
require 'tasker_core/client/errors'
require 'tasker_core/settings'
require 'tasker_core/version'
require 'tasker_core/worker/answers'

module TaskerCore
  module Client
    # Makes calls, and makes them again if that may help.
    class Caller
      # Most repeats of a call.
      MOST_RETRIES = 3

      # Statuses that another try may improve.
      PASSING = [408, 429, 502, 503, 504].freeze

      # Longest pause before the first repeat, in seconds, which doubles with each further one; and of all.
      FIRST_PAUSE = 0.2
      LONGEST_PAUSE = 5.0

      # Longest +Retry-After+ that is waited for, in seconds. A server that asks for more gets no repeat.
      LONGEST_RETRY_AFTER = 30.0

      # @param settings [Settings] where the server is
      def initialize(settings)
        @url = settings.server_url
        @headers = { 'User-Agent' => "ruby/#{VERSION}" }.merge(settings.credentials)
        @timeout = settings.timeout_seconds
        @idle = []
        @lock = Mutex.new
      end

      # @param operation [String] the method that is called, for errors
      # @param verb [Symbol] +:get+, +:post+ or +:delete+
      # @param path [String] path and query
      # @param body [Object, nil] what to send as JSON
      # @param repeatable [Boolean] whether carrying the call out twice does no harm
      # @return [Object] the answer's JSON
      # @raise [Error] the server refuses, or cannot be reached
      def call(operation, verb, path, body: nil, repeatable: false)
        text = body && JSON.generate(body, max_nesting: 0)
        latest = monotonic + (2 * @timeout)
        retries = 0
        begin
          read(operation, send_once(operation, verb, path, text, repeatable))
        rescue Error => e
          pause = pause_after(e, retries, repeatable)
          raise if pause.nil? || monotonic + pause > latest

          sleep(pause)
          retries += 1
          retry
        end
      end

      # Closes all connections that are not in use.
      def close
        @lock.synchronize { @idle.each(&:close).clear }
      end

      private

      # Returns the seconds to wait before the call is made again; nil if it is not.
      def pause_after(error, retries, repeatable)
        may_help = error.status_code.nil? || PASSING.include?(error.status_code)
        return nil if !may_help || retries >= MOST_RETRIES || !(repeatable || error.unsent?)
        return nil if error.retry_after && error.retry_after > LONGEST_RETRY_AFTER

        error.retry_after.to_f + (rand * [FIRST_PAUSE * (2**retries), LONGEST_PAUSE].min)
      end

      def send_once(operation, verb, path, text, repeatable)
        connection = @lock.synchronize { @idle.pop } || Connection.new(@url, @headers)
        answer = connection.request(verb, path, body: text, timeout: @timeout, repeatable: repeatable)
        @lock.synchronize { @idle << connection }
        answer
      rescue Connection::FailedError => e
        raise Error.new(operation, e.message, unsent: e.unsent)
      end

      def read(operation, answer)
        return JSON.parse(answer.body, max_nesting: false) if (200..299).cover?(answer.status)

        error = Worker::Answers.error_in(answer)
        raise Error.new(operation, error['message'], status_code: answer.status, code: error['code'],
                                                     details: error['details'] || [],
                                                     retry_after: Worker::Answers.retry_after(answer))
      rescue JSON::ParserError
        raise Error.new(operation, "#{@url} is no Tasker server: its answer is no JSON", status_code: answer.status)
      end

      def monotonic
        Process.clock_gettime(Process::CLOCK_MONOTONIC)
      end
    end
  end
end
