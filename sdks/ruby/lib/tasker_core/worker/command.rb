# frozen_string_literal: true

require 'optparse'
require 'tasker_core'
require 'tasker_core/worker/signals'

module TaskerCore
  module Worker
    # The command +tasker-worker+.
    class Command
      # What the command ends with.
      SUCCESS = 0
      FAILED = 1
      WRONG_USE = 2
      REFUSED = 4
      UNAVAILABLE = 5

      HELP = <<~TEXT
        Usage: tasker-worker [OPTIONS] [HANDLERS...]

        Run steps with the handlers in HANDLERS, Ruby files or directories of them, until told to stop.

        Templates are registered with the server, so that tasks can be created by name. Steps are taken from
        the templates' namespaces and those of --namespace; without both, from everywhere.

        SIGTERM or Ctrl-C: nothing more is started, and running handlers may finish; a second one leaves at once.

      TEXT

      EXAMPLES = <<~TEXT

        Each option may be given by an environment variable, too; credentials only so:
        TASKER_ORCHESTRATION_AUTH_TOKEN, TASKER_AUTH_TOKEN, or TASKER_API_KEY.

        Exit codes: 0 it was stopped, 1 it failed, 2 wrong use, 4 the credentials are refused,
        5 there is no server, 130 or 143 it was made to leave at once.

        Examples:
          tasker-worker handlers.rb
          tasker-worker app/handlers --templates config/tasks --server https://tasker.example
          tasker-worker app/handlers --concurrency 50 --health-bind 0.0.0.0:8081
      TEXT

      # Something is wrong with the command line or the settings.
      class UsageError < StandardError; end

      # @param arguments [Array<String>] the command line
      # @return [Integer] the exit code
      def self.run(arguments = ARGV)
        new.run(arguments)
      end

      def initialize(output: $stdout, errors: $stderr)
        @output = output
        @errors = errors
        @given = { namespaces: [] }
      end

      # @param arguments [Array<String>] the command line
      # @return [Integer] the exit code
      def run(arguments)
        handlers = parser.parse(arguments)
        return SUCCESS if @shown

        settings = Settings.new(**@given, namespaces: @given[:namespaces].empty? ? nil : @given[:namespaces])
        handlers.each { |path| load_handlers(path) }
        work(Application.new(settings, require_handlers: true))
      rescue OptionParser::ParseError, Settings::InvalidError, UsageError, NoHandlers => e
        complain(e.message)
        @errors.puts("Try 'tasker-worker --help'.")
        WRONG_USE
      end

      private

      def work(application)
        signals = Signals.handle { application.stop }
        application.run
        SUCCESS
      rescue ServerUnavailable => e
        fail_with(UNAVAILABLE, e.message)
      rescue AccessRefused => e
        fail_with(e.credentials? ? REFUSED : FAILED, e.message)
      rescue NoHandlers
        raise
      rescue StartFailed, RequestRefused => e
        fail_with(FAILED, e.message)
      ensure
        signals&.restore
      end

      def fail_with(code, message)
        complain(message)
        code
      end

      def complain(message)
        @errors.puts("tasker-worker: #{message}")
      end

      def load_handlers(path)
        raise UsageError, "there is no file or directory #{path}" unless File.exist?(path)

        files = File.directory?(path) ? Dir[File.join(path, '**', '*.rb')] : [path]
        raise UsageError, "there are no Ruby files in #{path}" if files.empty?

        files.each { |file| load_file(file) }
      end

      def load_file(file)
        require File.expand_path(file)
      rescue ScriptError, StandardError => e
        place = e.backtrace&.find { |line| line.include?(File.basename(file)) }
        where = ", #{place}" if place
        raise UsageError, "#{file} cannot be loaded: #{e.message.lines.first&.chomp} (#{e.class}#{where})"
      end

      def parser
        OptionParser.new do |options|
          options.banner = HELP
          add_server_options(options)
          add_worker_options(options)
          options.on('--version', 'Print the version.') { show("tasker-worker #{VERSION}") }
          options.on('-h', '--help', 'Print this.') { show(options.to_s + EXAMPLES) }
        end
      end

      def add_server_options(options)
        options.on('--server URL', 'The Tasker server. Default: http://localhost:8080') { |url| set(:server_url, url) }
        options.on('--templates PATH', 'A template file, or a directory of them. Default: config/tasks,',
                   'if it is there') { |path| set(:template_path, path) }
        options.on('--namespace NAME', 'Where to take steps from; may be repeated.') do |name|
          @given[:namespaces] << name
        end
        options.on('--wait-for SECONDS', 'How long to wait for the server at the start. Default: 60') do |seconds|
          set(:wait_for, seconds)
        end
      end

      def add_worker_options(options)
        options.on('--concurrency N', 'Handlers that run at once. Default: 10') { |number| set(:concurrency, number) }
        options.on('--name NAME', "The worker's name in the history.") { |name| set(:worker_name, name) }
        options.on('--shutdown-timeout SECONDS', 'How long running handlers may take to finish.',
                   'Default: 30') { |seconds| set(:shutdown_timeout, seconds) }
        options.on('--health-bind HOST:PORT', 'Where to answer /health, /health/ready and /metrics.') do |address|
          set(:health_bind, address)
        end
        options.on('--log-format FORMAT', %w[auto console json], 'auto, console or json. Default: auto') do |format|
          Logger.instance.format = format.to_sym
        end
      end

      def set(name, value)
        @given[name] = value
      end

      def show(text)
        @output.puts(text) unless @shown
        @shown = true
      end
    end
  end
end
