# frozen_string_literal: true

require 'net/http'
require 'openssl'
require 'uri'

module TaskerCore
  module StepHandler
    # A small HTTP client that keeps its connections open. Several threads may share one.
    class HttpConnection
      # One request, as it can be changed before it is sent.
      Request = Struct.new(:params, :headers, :body)

      # How long to wait, in seconds.
      Options = Struct.new(:timeout, :open_timeout)

      # Open connections that are kept for a server.
      MOST_IDLE = 8
      private_constant :MOST_IDLE

      METHODS = { get: Net::HTTP::Get, post: Net::HTTP::Post, put: Net::HTTP::Put, patch: Net::HTTP::Patch,
                  delete: Net::HTTP::Delete, head: Net::HTTP::Head }.freeze
      private_constant :METHODS

      # @return [String, nil] what paths are appended to
      attr_reader :url
      # @return [Hash{String => String}] sent with every request
      attr_reader :headers
      # @return [Hash] sent with every request, in its query
      attr_reader :params
      # @return [Options]
      attr_reader :options
      # @return [Hash] +verify+ (true by default), +ca_file+, +ca_path+
      attr_reader :ssl

      # @param url [String, nil] what paths are appended to
      # @param headers [Hash] sent with every request
      # @param params [Hash] sent with every request, in its query
      # @param ssl [Hash] +verify+ (true by default), +ca_file+, +ca_path+
      # @param timeout [Numeric] seconds to wait for an answer
      # @param open_timeout [Numeric] seconds to wait for a connection
      def initialize(url: nil, headers: {}, params: {}, ssl: {}, timeout: 30, open_timeout: 10)
        @url = url
        @headers = headers.to_h.transform_keys(&:to_s)
        @params = params.to_h.transform_keys(&:to_s)
        @ssl = Types::IndifferentHash.wrap(ssl.to_h)
        @options = Options.new(timeout, open_timeout)
        @idle = Hash.new { |idle, origin| idle[origin] = [] }
        @lock = Mutex.new
      end

      # Sends a request.
      #
      # @param method [Symbol] +:get+ and so on
      # @param path [String] appended to {#url}; a whole URL stands for itself
      # @param body [String, nil]
      # @param headers [Hash, nil]
      # @yield [request] to change it
      # @yieldparam request [Request]
      # @return [ApiResponse]
      # @raise [Errors::TimeoutError] no answer in time
      # @raise [Errors::NetworkError] no connection, or a broken one
      def run_request(method, path, body = nil, headers = nil)
        request = Request.new(params.dup, (headers || {}).to_h.transform_keys(&:to_s), body)
        yield request if block_given?
        uri = uri_of(path, request.params)
        request.headers = self.headers.merge(request.headers) if own_server?(uri)
        send_request(method, uri, request)
      end

      # @!method get(path, params = nil, headers = nil)
      #   @return [ApiResponse]
      # @!method delete(path, params = nil, headers = nil)
      #   @return [ApiResponse]
      %i[get head delete].each do |method|
        define_method(method) do |path, params = nil, headers = nil|
          run_request(method, path, nil, headers) { |request| request.params.update((params || {}).transform_keys(&:to_s)) }
        end
      end

      # @!method post(path, body = nil, headers = nil)
      #   @return [ApiResponse]
      # @!method put(path, body = nil, headers = nil)
      #   @return [ApiResponse]
      # @!method patch(path, body = nil, headers = nil)
      #   @return [ApiResponse]
      %i[post put patch].each do |method|
        define_method(method) { |path, body = nil, headers = nil| run_request(method, path, body, headers) }
      end

      # Closes what is open; the next request opens a new connection.
      def close
        idle = @lock.synchronize { @idle.values.flatten.tap { @idle.clear } }
        idle.each { |http| finish(http) }
        nil
      end

      private

      # A path goes below the base's own path, whether it begins with a slash or not.
      def uri_of(path, params)
        text = path.to_s
        text = [url.to_s.chomp('/'), text.delete_prefix('/')].reject(&:empty?).join('/') unless text.match?(%r{\Ahttps?://}i)
        uri = URI.parse(text)
        raise Errors::ConfigurationError, "not an HTTP URL: #{text.inspect}" unless uri.is_a?(URI::HTTP)

        query = [uri.query, params.empty? ? nil : URI.encode_www_form(params)].compact.join('&')
        uri.query = query.empty? ? nil : query
        uri
      rescue URI::InvalidURIError => e
        raise Errors::ConfigurationError, e.message
      end

      # Credentials are not for other servers.
      def own_server?(uri)
        base = url && URI.parse(url.to_s)
        base.nil? || origin_of(base) == origin_of(uri)
      end

      def origin_of(uri)
        [uri.scheme, uri.hostname, uri.port]
      end

      def send_request(method, uri, request)
        message = METHODS.fetch(method.to_sym).new(uri, request.headers.transform_values(&:to_s))
        if request.body
          message.body = request.body
          message['Content-Type'] ||= 'application/octet-stream'
        end
        answer = with_connection(uri) { |http| http.request(message) }
        ApiResponse.new(status: answer.code.to_i, headers: answer.to_hash, body: text(answer.body),
                        reason_phrase: answer.message)
      rescue ::Timeout::Error, Errno::ETIMEDOUT => e
        raise Errors::TimeoutError.new("#{method.to_s.upcase} #{shown(uri)}: #{e.message}",
                                       timeout_duration: options.timeout)
      rescue SocketError, SystemCallError, IOError, OpenSSL::SSL::SSLError, Net::ProtocolError,
             Net::HTTPBadResponse, Net::HTTPHeaderSyntaxError => e
        raise Errors::NetworkError, "#{method.to_s.upcase} #{shown(uri)}: #{e.message}"
      end

      def with_connection(uri)
        origin = origin_of(uri)
        http = @lock.synchronize { @idle[origin].pop } || connect(uri)
        result = yield http
        keep(origin, http)
        http = nil
        result
      ensure
        # Only a connection whose request was answered may serve another one.
        finish(http) if http
      end

      def keep(origin, http)
        kept = @lock.synchronize { @idle[origin].size < MOST_IDLE && @idle[origin].push(http) }
        finish(http) unless kept
      end

      def connect(uri)
        http = Net::HTTP.new(uri.hostname, uri.port)
        http.open_timeout = options.open_timeout
        http.read_timeout = http.write_timeout = options.timeout
        # A request that was sent may have been carried out: whether to send it again is the step's to decide.
        http.max_retries = 0
        use_tls(http) if uri.scheme == 'https'
        http.start
      end

      def use_tls(http)
        http.use_ssl = true
        http.verify_mode = ssl['verify'] == false ? OpenSSL::SSL::VERIFY_NONE : OpenSSL::SSL::VERIFY_PEER
        http.ca_file = ssl['ca_file'] if ssl['ca_file']
        http.ca_path = ssl['ca_path'] if ssl['ca_path']
      end

      def finish(http)
        http.finish if http.started?
      rescue IOError
        nil
      end

      def text(body)
        return body if body.nil?

        utf8 = body.dup.force_encoding(Encoding::UTF_8)
        utf8.valid_encoding? ? utf8 : body
      end

      # The query may hold secrets.
      def shown(uri)
        "#{uri.scheme}://#{uri.host}:#{uri.port}#{uri.path}"
      end
    end
  end
end
