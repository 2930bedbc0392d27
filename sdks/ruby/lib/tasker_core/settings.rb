# frozen_string_literal: true

require 'uri'

module TaskerCore
  # What the environment says about the server and the worker, overridden by what is given.
  class Settings
    # A setting that cannot be used; the message names it.
    class InvalidError < ArgumentError; end

    # @return [String] the server's URL, without a slash at the end
    attr_reader :server_url

    # @return [Hash{String => String}] headers that carry the credentials
    attr_reader :credentials

    # @return [Float] seconds that a client waits for an answer
    attr_reader :timeout_seconds

    # @return [Array<String>] where the worker takes steps from, besides the namespaces of its templates
    attr_reader :namespaces

    # @return [String] the worker's name in the history
    attr_reader :worker_name

    # @return [Integer] handlers that run at once
    attr_reader :concurrency

    # @return [Float] seconds that running handlers have once the worker is to stop
    attr_reader :shutdown_timeout

    # @return [Float] seconds that a starting worker waits for the server
    attr_reader :wait_for

    # @return [String, nil] a file or directory of templates
    attr_reader :template_path

    # @return [Array(String, Integer), nil] host and port of the health endpoint
    attr_reader :health_bind

    # @param environment [Hash] environment variables
    # @param given settings that override it, under the names of the readers: +server_url+, +namespaces+,
    #   +worker_name+, +concurrency+, +shutdown_timeout+, +wait_for+, +template_path+, +health_bind+. Nil is not given.
    # @raise [InvalidError] a setting has a value that cannot be used
    def initialize(environment: ENV, **given)
      @environment = environment
      @given = given.compact
      @server_url = url(value(:server_url, 'TASKER_ORCHESTRATION_URL') || 'http://localhost:8080')
      @credentials = read_credentials.freeze
      @timeout_seconds = number(nil, 'TASKER_ORCHESTRATION_TIMEOUT_MS', 30_000.0, least: 1) / 1000
      @namespaces = list(value(:namespaces, 'TASKER_NAMESPACE'))
      @worker_name = value(:worker_name, 'TASKER_WORKER_ID', 'TASKER_INSTANCE_ID') || 'ruby_worker'
      read_worker
    end

    private

    def read_worker
      @concurrency = whole(number(:concurrency, 'TASKER_MAX_CONCURRENT', 10.0, least: 1, most: 10_000))
      @shutdown_timeout = number(:shutdown_timeout, 'TASKER_SHUTDOWN_TIMEOUT', 30.0)
      @wait_for = number(:wait_for, 'TASKER_WAIT_FOR', 60.0)
      @template_path = existing_path(value(:template_path, 'TASKER_TEMPLATE_PATH'))
      @health_bind = address(value(:health_bind, 'TASKER_WORKER_HEALTH_BIND'))
    end

    def value(name, *variables)
      return @given[name] if name && @given.key?(name)

      variables.map { |variable| @environment[variable] }.find { |text| text && !text.empty? }
    end

    def read_credentials
      token = value(nil, 'TASKER_ORCHESTRATION_AUTH_TOKEN', 'TASKER_AUTH_TOKEN')
      return { 'Authorization' => "Bearer #{token}" } if token

      key = value(nil, 'TASKER_API_KEY')
      key ? { (value(nil, 'TASKER_API_KEY_HEADER') || 'X-API-Key') => key } : {}
    end

    def url(text)
      parsed = URI.parse(text)
      return text.chomp('/') if parsed.is_a?(URI::HTTP) && parsed.host && !parsed.host.empty?

      raise URI::InvalidURIError
    rescue URI::InvalidURIError
      raise InvalidError, "the server's URL must begin with http:// or https:// and name a host, not #{text.inspect}"
    end

    def number(name, variable, default, least: 0, most: nil)
      given = value(name, variable)
      return default if given.nil?

      number = Float(given, exception: false)
      return number if number && (least..(most || Float::MAX)).cover?(number)

      limits = most ? "from #{least} to #{most}" : "of at least #{least}"
      raise InvalidError, "#{name || variable} must be a number #{limits}, not #{given.to_s.inspect}"
    end

    def whole(number)
      return number.to_i if (number % 1).zero?

      raise InvalidError, "concurrency must be a whole number, not #{number}"
    end

    def list(given)
      texts = given.is_a?(Array) ? given : given.to_s.split(',')
      texts.map { |text| text.to_s.strip }.reject(&:empty?).uniq.freeze
    end

    def existing_path(path)
      return path if path.nil? || File.exist?(path)

      raise InvalidError, "there is no file or directory of templates at #{path}"
    end

    def address(text)
      return text if text.nil? || text.is_a?(Array)

      host, _, port = text.rpartition(':')
      host = host.delete_prefix('[').delete_suffix(']')
      return [host, port.to_i] if !host.empty? && port.match?(/\A\d{1,5}\z/) && port.to_i <= 65_535

      raise InvalidError, "the health endpoint's address must be HOST:PORT, not #{text.inspect}"
    end
  end
end
