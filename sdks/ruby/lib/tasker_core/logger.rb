# frozen_string_literal: true

require 'json'
require 'singleton'
require 'time'

module TaskerCore
  # Writes structured log lines to standard error: one JSON object a line where that is no terminal, text otherwise.
  #
  # The level is the first plain level word of +RUST_LOG+ (+info+ by default), the format +TASKER_LOG_FORMAT+
  # (+json+, +console+, or +auto+).
  #
  # @example
  #   TaskerCore::Logger.instance.info('order imported', order: 'A-1')
  class Logger
    include Singleton

    # Levels, least important first.
    LEVELS = %i[trace debug info warn error fatal].freeze

    # What levels are called in JSON lines where Ruby calls them otherwise than the workers of other languages.
    LEVEL_NAMES = { warn: 'warning', fatal: 'critical' }.freeze

    # Words that +RUST_LOG+ may hold, and the levels they mean.
    LEVEL_WORDS = LEVELS.to_h { |level| [level.to_s, level] }.merge('warning' => :warn, 'off' => :off).freeze

    # @return [Symbol] the least important level that is written; +:off+ writes nothing
    attr_reader :level

    # @return [IO] where lines go
    attr_accessor :output

    # @return [Symbol] +:json+, +:console+ or +:auto+
    attr_accessor :format

    def initialize
      @output = $stderr
      @mutex = Mutex.new
      self.level = self.class.level_in(ENV.fetch('RUST_LOG', ''))
      self.format = ENV.fetch('TASKER_LOG_FORMAT', 'auto').to_sym
    end

    # @param text [String] a value of +RUST_LOG+, such as +debug+ or +info,tasker=debug+
    # @return [Symbol] the level that its first plain word names, else +:info+
    def self.level_in(text)
      text.downcase.split(',').map { |word| LEVEL_WORDS[word.strip] }.compact.first || :info
    end

    # @param level [Symbol, String] the least important level to write
    # @raise [ArgumentError] there is no such level
    def level=(level)
      @level = LEVEL_WORDS[level.to_s.downcase] or raise ArgumentError, "no log level: #{level}"
    end

    # Whether lines of a level are written.
    def enabled?(level)
      @level != :off && LEVELS.index(level) >= LEVELS.index(@level)
    end

    # @!method info(message = nil, fields = {}, **more)
    #   Writes a line; a block gives the message only if the line is written. So do +trace+, +debug+, +warn+, +error+
    #   and +fatal+; +info?+ and the like say whether the level is written.
    LEVELS.each do |name|
      define_method(name) do |message = nil, fields = {}, **more, &block|
        write(name, message || block&.call, **fields, **more) if enabled?(name)
        nil
      end
      define_method("#{name}?") { enabled?(name) }
    end

    # Logs something about a task.
    # @param level [Symbol] a level
    # @param operation [String, Symbol] what happened
    def log_task(level, operation, **fields)
      log_about('tasker.task', level, operation, fields)
    end

    # Logs something about a step. See {#log_task}.
    def log_step(level, operation, **fields)
      log_about('tasker.step', level, operation, fields)
    end

    # Logs something about the registry of handlers. See {#log_task}.
    def log_registry(level, operation, **fields)
      log_about('tasker.registry', level, operation, fields)
    end

    # Logs something about configuration. See {#log_task}.
    def log_config(level, operation, **fields)
      log_about('tasker.config', level, operation, fields)
    end

    # Writes a line whether its level is enabled or not.
    # @param level [Symbol] a level
    # @param event [String] what happened
    # @param logger [String] who says so
    def write(level, event, logger: 'tasker', **fields)
      line = json? ? as_json(level, event, logger, fields) : as_text(level, event, logger, fields)
      # One write for each line keeps those of several threads apart.
      @mutex.synchronize { @output.write("#{line}\n") }
    rescue IOError, SystemCallError
      nil # a log that cannot be written must not stop the work
    end

    private

    def log_about(logger, level, operation, fields)
      write(level.to_sym, operation.to_s, logger: logger, **fields) if enabled?(level.to_sym)
    end

    def json?
      @format == :json || (@format != :console && !@output.tty?)
    end

    def as_json(level, event, logger, fields)
      named = { timestamp: timestamp, level: LEVEL_NAMES.fetch(level, level), event: event.to_s, logger: logger }
      JSON.generate(printable(named.merge(fields)))
    end

    def as_text(level, event, logger, fields)
      shown = fields.map { |name, value| "#{name}=#{value.is_a?(String) ? value.scrub : printable(value).inspect}" }
      [timestamp, level.to_s.upcase.ljust(5), "#{logger}:", event.to_s.scrub, *shown].join(' ')
    end

    def timestamp
      Time.now.utc.iso8601(6)
    end

    # Whatever is logged must not break the line.
    def printable(value)
      case value
      when Hash then value.to_h { |key, each| [key.to_s.scrub, printable(each)] }
      when Array then value.map { |each| printable(each) }
      when Integer, true, false, nil then value
      when Float then value.finite? ? value : value.to_s
      else value.to_s.scrub
      end
    end
  end
end
