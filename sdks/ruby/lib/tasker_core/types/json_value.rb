# frozen_string_literal: true

require 'date'
require 'set'
require 'time'

module TaskerCore
  module Types
    # Values as JSON says them: what a handler returns is read by handlers in other languages. What JSON cannot say, or
    # no database stores, is refused rather than bent.
    module JsonValue
      # A value has no faithful JSON form; the message says where and why.
      class NoJsonFormError < StandardError; end

      # Deeper values are taken for ones that contain themselves.
      MOST_LEVELS = 500
      private_constant :MOST_LEVELS

      class << self
        # Hashes get String keys; Symbols become Strings, times RFC 3339 text in UTC, decimals text; an object is asked
        # for +as_json+ or +to_h+.
        #
        # @param value [Object]
        # @return [Hash, Array, String, Integer, Float, true, false, nil]
        # @raise [NoJsonFormError] NaN and infinities, NUL characters, text that is not Unicode, other objects
        def of(value, path = '$', level = 0)
          raise NoJsonFormError, 'nested too deeply' if level > MOST_LEVELS

          case value
          when nil, true, false then value
          when String then text(value, path)
          when Symbol then text(value.name, path)
          when Integer, Float then number(value, path)
          when Hash then object(value, path, level)
          when Array, Set then list(value, path, level)
          else converted(value, path, level)
          end
        end

        # @param value [Object]
        # @return [String] text for people of whatever is given: what cannot be stored is written as an escape
        def printable(value)
          text = value.to_s
          text = text.encoding == Encoding::BINARY ? text.dup.force_encoding(Encoding::UTF_8) : text
          text = text.encode(Encoding::UTF_8, invalid: :replace, undef: :replace) unless text.encoding == Encoding::UTF_8
          text.scrub { |bytes| bytes.bytes.map { |byte| format('\\x%02x', byte) }.join }.gsub("\u0000", '\\x00')
        end

        private

        def object(hash, path, level)
          hash.each_with_object({}) do |(key, value), result|
            name = text(key.to_s, path)
            result[name] = of(value, "#{path}.#{name}", level + 1)
          end
        end

        def list(items, path, level)
          items.each_with_index.map { |item, index| of(item, "#{path}[#{index}]", level + 1) }
        end

        def text(string, path)
          return string if string.encoding == Encoding::UTF_8 && string.valid_encoding? && !string.include?("\u0000")

          utf8 = string.encode(Encoding::UTF_8)
          refuse(path, 'is not valid UTF-8 text') unless utf8.valid_encoding?
          refuse(path, 'contains a NUL character') if utf8.include?("\u0000")
          utf8
        rescue EncodingError
          refuse(path, 'is not valid UTF-8 text')
        end

        def number(number, path)
          finite = number.is_a?(Integer) ? number.abs <= Float::MAX : number.finite?
          finite ? number : refuse(path, 'is not a number that can be stored')
        end

        def converted(value, path, level)
          case value
          when Time, DateTime then value.to_time.getutc.iso8601(6)
          when Date then value.iso8601
          when Rational then value.to_f
          else decimal?(value) ? decimal(value, path) : of_object(value, path, level)
          end
        end

        # Ruby comes with decimals, but a bundle may be without them.
        def decimal?(value)
          defined?(::BigDecimal) && value.is_a?(::BigDecimal)
        end

        def decimal(value, path)
          value.finite? ? value.to_s('F') : refuse(path, 'is not a number that can be stored')
        end

        def of_object(value, path, level)
          form = %i[as_json to_unsafe_h to_h].find { |method| value.respond_to?(method) }
          refuse(path, "is a #{value.class}, which has no JSON form") if form.nil?
          of(form_of(value, form, path), path, level + 1)
        end

        def form_of(value, form, path)
          value.public_send(form)
        rescue StandardError => e
          refuse(path, "is a #{value.class}, whose #{form} fails: #{e.message}")
        end

        def refuse(path, complaint)
          raise NoJsonFormError, "not JSON-serialisable: the value at #{path} #{complaint}"
        end
      end
    end
  end
end
