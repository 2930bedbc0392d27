# frozen_string_literal: true

require 'io/wait'
require 'json'
require 'socket'
require 'tasker_core/logger'
require 'tasker_core/worker/errors'

module TaskerCore
  module Worker
    # Answers health checks over HTTP.
    class HealthEndpoint
      # Seconds that a client may take for its request.
      REQUEST_SECONDS = 5.0

      # Most bytes of a request.
      MOST_BYTES = 16 * 1024

      # What is written for a status.
      REASONS = { 200 => 'OK', 400 => 'Bad Request', 404 => 'Not Found', 405 => 'Method Not Allowed',
                  503 => 'Service Unavailable' }.freeze

      # Content types.
      JSON_TYPE = 'application/json'
      TEXT_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

      # @param bind [Array(String, Integer), nil] host and port; nil for none
      # @param status [Status] how the worker stands
      # @return [HealthEndpoint, nil] the endpoint, answering
      # @raise [StartFailed] it cannot listen there
      def self.open(bind, status)
        bind && new(*bind, status)
      rescue SystemCallError, SocketError => e
        raise StartFailed, "the health endpoint cannot listen on #{bind.join(':')}: #{e.message}"
      end

      # @param host [String] the address to listen on
      # @param port [Integer] the port; 0 for any
      # @param status [Status] how the worker stands
      def initialize(host, port, status)
        @status = status
        @server = TCPServer.new(host, port)
        @thread = Thread.new { accept }
        @thread.name = 'tasker-health'
        Logger.instance.info('health_endpoint', logger: 'tasker.worker', host: host, port: self.port)
      end

      # @return [Integer] the port that it listens on
      def port = @server.local_address.ip_port

      # Answers no more.
      def close
        @server.close
        @thread.join
      end

      # @param path [String] what is asked for
      # @return [Array(Integer, String, String)] status, content type and body of the answer
      def answer(path)
        case path
        when '/health' then json(200, status: 'healthy', worker_id: @status.details[:worker_id])
        when '/health/live' then json(200, status: 'alive')
        when '/health/ready' then ready
        when '/health/detailed' then json(200, **@status.details)
        when '/metrics' then [200, TEXT_TYPE, @status.metrics]
        else json(404, error: 'not found')
        end
      end

      private

      def accept
        until @server.closed?
          begin
            client = @server.accept
            Thread.new(client) { |accepted| serve(accepted) }
          rescue SystemCallError
            sleep(0.1) # such as too many open files: it may be better soon
          end
        end
      rescue IOError
        nil # closed
      end

      def serve(client)
        verb, target = request_line(client)
        status, type, body = %w[GET HEAD].include?(verb) ? answer(target.to_s[/\A[^?]*/]) : refusal(verb)
        client.write("HTTP/1.1 #{status} #{REASONS[status]}\r\nContent-Type: #{type}\r\n" \
                     "Content-Length: #{body.bytesize}\r\nConnection: close\r\n\r\n#{body unless verb == 'HEAD'}")
      rescue IOError, SystemCallError
        nil # the client is gone
      ensure
        client.close
      end

      # Reads the whole head, since a connection that is closed over unread bytes is reset.
      def request_line(client)
        deadline = monotonic + REQUEST_SECONDS
        head = +''
        until head.include?("\r\n\r\n") || head.include?("\n\n") || head.bytesize > MOST_BYTES
          raise IOError, 'the client is too slow' unless client.wait_readable([deadline - monotonic, 0].max)

          head << client.readpartial(4096)
        end
        head.lines.first.to_s.split
      end

      def refusal(verb)
        verb.nil? ? json(400, error: 'bad request') : json(405, error: 'only GET and HEAD')
      end

      def ready
        return json(200, status: 'ready') if @status.ready?

        json(503, status: 'not_ready', reasons: @status.reasons)
      end

      def json(status, **body)
        [status, JSON_TYPE, JSON.generate(body)]
      end

      def monotonic
        Process.clock_gettime(Process::CLOCK_MONOTONIC)
      end
    end
  end
end
