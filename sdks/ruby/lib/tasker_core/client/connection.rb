# frozen_string_literal: true

require 'net/http'
require 'openssl'
require 'socket'
require 'uri'

module TaskerCore
  module Client
    # A kept-alive HTTP connection. One thread at a time may use it.
    class Connection
      # No answer came.
      class FailedError < StandardError
        # @return [Boolean] whether there was no connection, so that the server cannot have seen the request
        attr_reader :unsent

        def initialize(message, unsent: false)
          super(message)
          @unsent = unsent
        end
      end

      # Another thread ended the request with {Connection#interrupt}.
      class InterruptedError < StandardError; end

      # An answer; header names are in lower case.
      Answer = Struct.new(:status, :headers, :body, keyword_init: true)

      # Seconds until an attempt to connect counts as failed.
      CONNECT_SECONDS = 5.0

      # Seconds that an idle connection is taken for good. Servers keep them longer.
      IDLE_SECONDS = 60

      REQUESTS = {
        get: Net::HTTP::Get, post: Net::HTTP::Post, delete: Net::HTTP::Delete
      }.freeze
      private_constant :REQUESTS

      # What a connection raises that the server closed.
      STALE = [EOFError, IOError, Errno::ECONNRESET, Errno::ECONNABORTED, Errno::EPIPE].freeze
      private_constant :STALE

      # @param url [String] the server's base URL
      # @param headers [Hash] headers that every request carries
      def initialize(url, headers = {})
        @uri = URI.parse(url)
        @prefix = @uri.path.chomp('/')
        @headers = { 'Accept' => 'application/json', 'Accept-Encoding' => 'identity' }.merge(headers)
        @http = nil
        @interrupted = false
      end

      # @param verb [Symbol] +:get+, +:post+ or +:delete+
      # @param path [String] the path below the base URL
      # @param body [String, nil] what to send
      # @param content_type [String] what it is
      # @param timeout [Numeric] seconds to wait for the next part of the answer
      # @param repeatable [Boolean] whether a request may be sent again whose connection the server closed meanwhile
      # @return [Answer]
      # @raise [FailedError] no answer came
      # @raise [InterruptedError] see {#interrupt}
      def request(verb, path, body: nil, content_type: 'application/json', timeout: 30.0, repeatable: true)
        reused = open?
        begin
          send_request(built(verb, path, body, content_type), timeout)
        rescue *STALE => e
          close
          raise InterruptedError if @interrupted
          raise failed(e) unless reused && repeatable

          reused = false
          retry
        rescue Timeout::Error, SystemCallError, SocketError, OpenSSL::SSL::SSLError, Net::ProtocolError,
               Net::HTTPBadResponse, Zlib::Error => e
          close
          raise InterruptedError if @interrupted

          raise failed(e)
        end
      end

      # Lets the next request be interrupted; one that was interrupted stays so until then.
      def arm
        @interrupted = false
      end

      # Ends the request that another thread has under way.
      def interrupt
        @interrupted = true
        close
      end

      # Closes the connection; the next request opens another.
      def close
        http = @http
        @http = nil
        http&.finish
      rescue IOError
        nil # it was closed already
      end

      private

      def open?
        !@http.nil? && @http.started?
      end

      def send_request(request, timeout)
        http = @http || open
        raise InterruptedError if @interrupted

        http.read_timeout = http.write_timeout = timeout
        response = http.request(request)
        Answer.new(status: response.code.to_i, headers: response, body: response.body || '')
      end

      def open
        http = Net::HTTP.new(@uri.hostname, @uri.port)
        http.use_ssl = @uri.scheme == 'https'
        http.open_timeout = CONNECT_SECONDS
        http.keep_alive_timeout = IDLE_SECONDS
        http.max_retries = 0
        begin
          http.start # Net::HTTP sets TCP_NODELAY
        rescue StandardError => e
          raise FailedError.new("no connection to #{@uri}: #{e.message}", unsent: true)
        end
        @http = http
      end

      def built(verb, path, body, content_type)
        request = REQUESTS.fetch(verb).new(@prefix + path, @headers)
        return request if body.nil?

        request['Content-Type'] = content_type
        request.body = body
        request
      end

      def failed(error)
        FailedError.new("no answer from #{@uri}: #{error.message}")
      end
    end
  end
end
