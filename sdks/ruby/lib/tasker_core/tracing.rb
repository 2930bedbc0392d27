# frozen_string_literal: true

require 'tasker_core/logger'

module TaskerCore
  # Structured log lines from handlers, one method a level.
  #
  # @example
  #   TaskerCore::Tracing.info('charge accepted', order: 'A-1', cents: 4990)
  module Tracing
    # Who says what is logged here.
    LOGGER = 'tasker.handler'

    class << self
      # Logs at level error.
      # @param message [String] what happened
      # @param fields [Hash] facts, under names of their own
      def error(message, fields = {}) = log(:error, message, fields)

      # Logs at level warn. See {.error}.
      def warn(message, fields = {}) = log(:warn, message, fields)

      # Logs at level info. See {.error}.
      def info(message, fields = {}) = log(:info, message, fields)

      # Logs at level debug. See {.error}.
      def debug(message, fields = {}) = log(:debug, message, fields)

      # Logs at level trace. See {.error}.
      def trace(message, fields = {}) = log(:trace, message, fields)

      private

      def log(level, message, fields)
        logger = Logger.instance
        logger.write(level, message, logger: LOGGER, **fields.to_h.transform_keys(&:to_sym)) if logger.enabled?(level)
        nil
      end
    end
  end
end
